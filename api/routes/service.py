"""The version and settings of this installation, for programs and the console."""

from importlib.metadata import version
from typing import Literal

from fastapi import APIRouter
from pydantic import Field

from api.dependencies import AnyKey, ContextDep
from api.http.problems import problem_responses
from core.schema.models import ReleasePolicy
from core.schema.strict import Answer

router = APIRouter(prefix="/v1/service", tags=["service"])


class About(Answer):
    """`GET /v1/service`."""

    object: Literal["service"] = Field(default="service", description="always `service`")
    version: str = Field(description="of the service's code", examples=["0.1.0"])
    release: ReleasePolicy = Field(
        description="what models get that do not say so themselves: `on_pass` releases what passed its policy,"
        " `always` whatever comes"
    )


@router.get("", summary="About this service", responses=problem_responses())
async def get_service(context: ContextDep, caller: AnyKey) -> About:
    """Its version, and whether checkpoints are guarded by their verdict. Any key may ask."""
    return About(version=version("unlearning-service"), release=context.settings.release)
