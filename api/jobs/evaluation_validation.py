"""What a request wants measured and judged, held against what there is and what is pinned to the model."""

from collections.abc import Sequence
from typing import Any

from pydantic import ValidationError
from sqlalchemy.ext.asyncio import AsyncSession

from api.http.problems import invalid_parameters, unprocessable
from core.evaluation.measurement import Measurement
from core.evaluation.measurements import MEASUREMENTS, UnknownMeasurement, resolve_measurements
from core.evaluation.policy import preview
from core.evaluation.policy.requirements import looser, missing, named, needed
from core.records import models, policies
from core.records.tables import ModelRow
from core.schema.default_policy import DEFAULT_POLICY
from core.schema.evaluation import MeasurementChoice
from core.schema.jobs import EvaluationRequest
from core.schema.policies import Bounds, Policy, PolicyLoosened

POLICY = "/evaluation/policy"


def measure(
    choices: Sequence[str | MeasurementChoice], *, pointer: tuple[str, ...] = ("evaluation", "measure")
) -> list[Any]:
    """The choices as they are kept with the job; `pointer` is where they stand in the request.

    Problem (422): an unknown measurement, or one's bad parameter.
    """
    for number, choice in enumerate(choices):
        try:
            resolve_measurements([choice])
        except UnknownMeasurement as error:
            raise unprocessable(f"/{'/'.join(pointer)}/{number}", error.detail, name=error.problem) from None
        except ValidationError as error:
            parameters = {} if isinstance(choice, str) else choice.parameters
            raise invalid_parameters(error, parameters, (*pointer, number)) from None
    return [one if isinstance(one, str) else one.model_dump(mode="json") for one in choices]


def made(kept: Sequence[Any]) -> list[Measurement]:
    """The measurements that a job's row stores as choices."""
    return resolve_measurements(
        [one if isinstance(one, str) else MeasurementChoice.model_validate(one) for one in kept]
    )


def of_dry_run(request: EvaluationRequest) -> list[Any]:
    """The measurements of a dry run: those that its conclusion rests on, and those that the request names.

    The former have smaller samples than in a job, unless the request names them with parameters. Problem (422): the
    request names a measurement of changed models alone, or weakens one that the conclusion rests on.
    """
    asked = request.measure if "measure" in request.model_fields_set else []
    budgets = {one.name: one for one in resolve_measurements(preview.choices())}
    for number, choice in enumerate(asked):
        pointer = f"/evaluation/measure/{number}"
        name = named(choice)
        if name in MEASUREMENTS and "before" not in MEASUREMENTS[name].moments:
            detail = f"'{name}' is measured of a changed model, and a dry run changes nothing"
            raise unprocessable(pointer, detail, name="not-in-a-dry-run")
        if name in budgets and (less := looser(resolve_measurements([choice])[0], budgets[name])):
            detail = f"a dry run goes by '{name}', which would show less than by its own choice"
            raise unprocessable(f"{pointer}/{less[0]}", detail, name="measurement-loosened")
    own = [one for one in preview.choices() if named(one) not in map(named, asked)]
    return measure([*own, *asked])


def completed(request: EvaluationRequest, policy: Policy, *, retrained: bool) -> list[str | MeasurementChoice]:
    """The measurements that the policy needs beside those that are asked for.

    Problem (422): one that the policy goes by is asked for with parameters by which it would show less.
    """
    needed_names = {named(one) for one in needed(policy, retrained=retrained)}
    for number, choice in enumerate(request.measure):
        if isinstance(choice, MeasurementChoice) and choice.name in needed_names:
            for parameter in looser(resolve_measurements([choice])[0]):
                detail = f"the policy '{policy.name}' goes by '{choice.name}', which would show less than by default"
                pointer = f"/evaluation/measure/{number}/{parameter}"
                raise unprocessable(pointer, detail, name="measurement-loosened")
    return missing(resolve_measurements(request.measure), policy, retrained=retrained)


async def check_retrained_model(session: AsyncSession, model: ModelRow, name: str, *, pointer: str) -> ModelRow:
    """The model that was retrained, held.

    Problem (422): it is not there, not ready, or cannot stand beside the model.
    """
    found = await models.get(session, model.organisation, name, lock=True)
    if found is None:
        raise unprocessable(pointer, "no model is registered under this id", name="unknown-model")
    if found.status != "ready" or found.shape is None or model.shape is None:
        raise unprocessable(pointer, f"the model is {found.status}, not ready", name="model-not-ready")
    if found.id == model.id or found.digest == model.digest:
        detail = "it is the model itself: name a model that was retrained without the forget set"
        raise unprocessable(pointer, detail, name="no-reference")
    one, other = found.shape["vocabulary"], model.shape["vocabulary"]
    if one != other:
        detail = f"it has a vocabulary of {one} tokens, the model one of {other}"
        raise unprocessable(pointer, detail, name="other-vocabulary")
    return found


async def policy(session: AsyncSession, model: ModelRow, wished: str | Bounds | None) -> Policy:
    """What the job will be held to: the model's policy, tightened by the one that is wished for.

    Problem (422): there is no such policy, or it asks for less than the model's.
    """
    name = model.policy or DEFAULT_POLICY.name
    pinned = await policies.resolve(session, model.organisation, name)
    if pinned is None:  # the table's own reference keeps it as long as a model has it
        raise LookupError(name)
    if wished is None or wished == name:
        return pinned
    called = wished if isinstance(wished, str) else wished.name
    kept = await policies.resolve(session, model.organisation, called)
    if isinstance(wished, str):
        if kept is None:
            raise unprocessable(POLICY, f"there is no policy '{called}'", name="unknown-policy")
        wished = kept
    elif kept is not None and kept.model_dump() != wished.model_dump():
        raise unprocessable(f"{POLICY}/name", f"'{called}' is the name of another policy", name="name-taken")
    try:
        return pinned.tightened(wished)
    except PolicyLoosened as error:
        detail = f"the model's policy '{pinned.name}' may be tightened, not loosened: {error}"
        raise unprocessable(POLICY, detail, name="policy-loosened") from None
