"""The catalogue of unlearning methods."""

from functools import cache

from fastapi import APIRouter

from api.dependencies import AnyKey
from api.http.problems import not_found, problem_responses
from core.schema.method_description import MethodDescription
from core.schema.pages import Page
from core.unlearning.objectives import METHODS, describe

router = APIRouter(prefix="/v1/methods", tags=["methods"])


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
