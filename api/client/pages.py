"""Lists: one page, or all entries over as many pages as there are."""

from typing import TypeVar

from pydantic import BaseModel

from api.client.answers import ask
from api.client.call import Call
from api.client.steps import Emit, Items
from core.schema.pages import Page

E = TypeVar("E", bound=BaseModel)

LARGEST_PAGE = 100


def every(call: Call, page_form: type[Page[E]]) -> Items[E]:
    """Emits all entries of a list, page after page."""
    after: str | None = None
    while True:
        query = {**call.query, "limit": LARGEST_PAGE, "after": after}
        page = yield from ask(Call(call.method, call.path, query), page_form)
        for entry in page.data:
            yield Emit(entry)
        if not page.has_more or page.last_id is None:
            return
        after = page.last_id
