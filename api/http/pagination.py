"""Pagination of lists by `limit` and `after`."""

from collections.abc import Callable, Sequence
from typing import Annotated, TypeVar

from fastapi import Query

from core.schema.pages import Page

Row = TypeVar("Row")
Item = TypeVar("Item")

Limit = Annotated[int, Query(ge=1, le=100, description="the number of items at most")]
After = Annotated[
    str | None, Query(max_length=128, description="the `last_id` of the previous page", examples=["job-0190…"])
]
DEFAULT_LIMIT = 20


def paginate(
    rows: Sequence[Row], limit: int, serialize: Callable[[Row], Item], *, item_id: Callable[[Item], str]
) -> Page[Item]:
    """Returns a page of `limit` items. `rows` holds one row more if another page follows."""
    data = [serialize(row) for row in rows[:limit]]
    return Page(
        data=data,
        first_id=item_id(data[0]) if data else None,
        last_id=item_id(data[-1]) if data else None,
        has_more=len(rows) > limit,
    )
