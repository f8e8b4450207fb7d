"""A page of a list: newest first, by keyset."""

from typing import Generic, Literal, TypeVar

from pydantic import Field

from core.schema.strict import Answer

Entry = TypeVar("Entry")


class Page(Answer, Generic[Entry]):
    object: Literal["list"] = Field(default="list", description="always `list`")
    data: list[Entry] = Field(description="the entries, newest first")
    first_id: str | None = Field(description="id of the first entry; null: there is none")
    last_id: str | None = Field(description="id of the last entry: `after` of the next page")
    has_more: bool = Field(description="whether there are further entries")
