"""Models that a job needs: the model that it changes or measures, and the retrained model beside it."""

from sqlalchemy.ext.asyncio import AsyncSession

from api.http.problems import Problem, unprocessable
from core.records import models
from core.records.tables import ModelRow


async def lock_ready_model(session: AsyncSession, organisation: str, name: str) -> ModelRow:
    """Locks and returns the registered model. Problem: 422 where there is none, 409 where it is not ready."""
    model = await models.get(session, organisation, name, lock=True)
    if model is None:
        raise unprocessable(
            "/model", "no model is registered under this id: POST /v1/models does that", name="unknown-model"
        )
    if model.status == "fetching":
        detail = "the model is still being fetched: try again when it is 'ready'"
        raise Problem(409, "model-not-ready", detail, headers={"Retry-After": "5"})
    if model.status != "ready":
        raise Problem(409, "model-not-ready", f"the model could not be registered: {model.error}")
    return model


async def check_retrained_model(session: AsyncSession, model: ModelRow, name: str, *, pointer: str) -> None:
    """Locks the model that was retrained without the forget set.

    Problem (422, at `pointer`): it does not exist, is not ready, or cannot be compared with `model`.
    """
    retrained = await models.get(session, model.organisation, name, lock=True)
    if retrained is None:
        raise unprocessable(pointer, "no model is registered under this id", name="unknown-model")
    if retrained.status != "ready" or retrained.shape is None or model.shape is None:
        raise unprocessable(pointer, f"the model is {retrained.status}, not ready", name="model-not-ready")
    if retrained.id == model.id or retrained.digest == model.digest:
        detail = "it is the model itself: name a model that was retrained without the forget set"
        raise unprocessable(pointer, detail, name="no-reference")
    vocabulary, expected = retrained.shape["vocabulary"], model.shape["vocabulary"]
    if vocabulary != expected:
        detail = f"it has a vocabulary of {vocabulary} tokens, the model one of {expected}"
        raise unprocessable(pointer, detail, name="other-vocabulary")
