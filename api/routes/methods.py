"""The catalogue of methods."""

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
    """A method: what it does, what it needs, its parameters and where it comes from."""

    name: str = Field(description="as a job names it")
    object: Literal["method"] = Field(default="method", description="always `method`")
    summary: str = Field(description="what it does")
    formula: str = Field(
        description="the forget term: l_t = -log p(x_t | x_<t), n scored tokens, p0 and l0 the original's"
    )
    needs: list[str] = Field(description="with default parameters: sets of records, or outputs of the original model")
    retain_terms: list[str] = Field(description="that it can take")
    parameters: dict[str, Any] = Field(description="JSON schema of what may stand beside `name` in a job's `method`")
    defaults: dict[str, Any] = Field(description="of its parameters")
    training_defaults: dict[str, dict[str, Any]] = Field(description="for small models, and for billions of weights")
    source: dict[str, str] = Field(description="the paper: title and address")


@cache
def _described(name: str) -> MethodDescription:
    return MethodDescription.model_validate(describe(name))


@router.get("", summary="List methods", responses=problem_responses())
async def list_methods(caller: AnyKey) -> Page[MethodDescription]:
    """Every method, by name; there is always one page. Any key may ask."""
    data = [_described(name) for name in sorted(METHODS)]
    return Page(data=data, first_id=data[0].name, last_id=data[-1].name, has_more=False)


@router.get("/{name}", summary="One method", responses=problem_responses(404))
async def get_method(name: str, caller: AnyKey) -> MethodDescription:
    """Any key may ask."""
    if name not in METHODS:
        raise not_found("method")
    return _described(name)
