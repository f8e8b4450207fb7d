"""Version and settings of this installation, for programs and the console."""

from importlib.metadata import version
from typing import Literal

from fastapi import APIRouter
from pydantic import Field

from api.dependencies import AnyKey, ContextDep
from api.http.problems import problem_responses
from core.schema.models import ReleasePolicy
from core.schema.strict import Answer

router = APIRouter(prefix="/v1/service", tags=["service"])


class ServiceInfo(Answer):
    """The answer of `GET /v1/service`."""

    object: Literal["service"] = Field(default="service", description="always `service`")
    version: str = Field(description="the version of the service's code", examples=["0.1.0"])
    release: ReleasePolicy = Field(
        description="the release rule of models that are registered without one: `on_pass` releases checkpoints that"
        " pass their policy, `always` releases every checkpoint"
    )


@router.get("", summary="About this service", responses=problem_responses())
async def get_service(context: ContextDep, caller: AnyKey) -> ServiceInfo:
    """Returns the version, and whether checkpoints are released by their verdict. Any key may ask."""
    return ServiceInfo(version=version("unlearning-service"), release=context.settings.release)
