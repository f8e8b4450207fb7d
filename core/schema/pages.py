"""A page of a list (keyset pagination)."""

from typing import Generic, Literal, TypeVar

from pydantic import Field

from core.schema.strict import Answer

Entry = TypeVar("Entry")


class Page(Answer, Generic[Entry]):
    """A page of a list."""

    object: Literal["list"] = Field(default="list", description="Always `list`.")
    data: list[Entry] = Field(description="The entries, newest first; models, policies and methods by name.")
    first_id: str | None = Field(description="The id of the first entry. Null: the page is empty.")
    last_id: str | None = Field(
        description="The id of the last entry, for `after` of the next page. Null: the page is empty."
    )
    has_more: bool = Field(description="Whether there are more entries.")
