"""A page of a list: newest first, by keyset."""

from typing import Generic, Literal, TypeVar

from core.schema.strict import Answer

Item = TypeVar("Item")


class Page(Answer, Generic[Item]):
    object: Literal["list"] = "list"
    data: list[Item]
    first_id: str | None
    last_id: str | None
    has_more: bool
