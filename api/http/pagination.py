"""Lists: a page and its edges."""

from collections.abc import Callable, Sequence
from typing import Annotated, TypeVar

from fastapi import Query

from core.schema.pages import Page

Row = TypeVar("Row")
Item = TypeVar("Item")

Limit = Annotated[int, Query(ge=1, le=100, description="how many at most")]
After = Annotated[
    str | None, Query(max_length=128, description="the `last_id` of the page before", examples=["job-0190…"])
]
DEFAULT_LIMIT = 20


def paginate(
    rows: Sequence[Row], limit: int, show: Callable[[Row], Item], *, name: Callable[[Item], str]
) -> Page[Item]:
    """The page out of `limit` rows and, where there are more, one beyond them."""
    data = [show(row) for row in rows[:limit]]
    return Page(
        data=data,
        first_id=name(data[0]) if data else None,
        last_id=name(data[-1]) if data else None,
        has_more=len(rows) > limit,
    )
