"""The catalogue of unlearning methods."""

from functools import cache
from typing import Any, Literal

from fastapi import APIRouter
from pydantic import Field

from api.dependencies import AnyKey
from api.http.problems import not_found, problem_responses
from core.schema.pages import Page
from core.schema.strict import Answer
from core.unlearning.objectives import METHODS, describe

router = APIRouter(prefix="/v1/methods", tags=["methods"])


class MethodDescription(Answer):
    """A method: its purpose, the data that it needs, its parameters and its source."""

    name: str = Field(description="the name by which a job chooses the method")
    object: Literal["method"] = Field(default="method", description="always `method`")
    summary: str = Field(description="what the method does")
    formula: str = Field(
        description="the forget term: l_t = -log p(x_t | x_<t), n scored tokens; p0 and l0 are the reference model's"
    )
    needs: list[str] = Field(
        description="needed with default parameters: sets of records, or outputs of the reference model (`original`)"
    )
    retain_terms: list[str] = Field(description="the retain terms that it supports")
    parameters: dict[str, Any] = Field(description="JSON schema of the fields beside `name` in a job's `method`")
    defaults: dict[str, Any] = Field(description="the default values of its parameters")
    training_defaults: dict[str, dict[str, Any]] = Field(
        description="training defaults for small models and for models with billions of weights"
    )
    source: dict[str, str] = Field(description="the paper: title and URL")


@cache
def _describe(name: str) -> MethodDescription:
    return MethodDescription.model_validate(describe(name))


@router.get("", summary="List methods", responses=problem_responses())
async def list_methods(caller: AnyKey) -> Page[MethodDescription]:
    """Lists all methods by name, always on one page. Any key may ask."""
    data = [_describe(name) for name in sorted(METHODS)]
    return Page(data=data, first_id=data[0].name, last_id=data[-1].name, has_more=False)


@router.get("/{name}", summary="Get a method", responses=problem_responses(404))
async def get_method(name: str, caller: AnyKey) -> MethodDescription:
    """Describes the method. Any key may ask."""
    if name not in METHODS:
        raise not_found("method")
    return _describe(name)
