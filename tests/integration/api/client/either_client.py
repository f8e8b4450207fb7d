"""A client of either kind, for tests that both must pass."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Literal, cast

from api.client import AsyncUnlearningClient, Retries, UnlearningClient

Kind = Literal["blocking", "asynchronous"]
QUICK = Retries(attempts=3, first_pause=0.01, longest_pause=1.0)


@dataclass
class EitherClient:
    """A client whose methods and iterators are awaited, of whichever kind it is."""

    kind: Kind
    client: UnlearningClient
    """The client. An asynchronous client is typed as a blocking one: `call` and `items` know the difference."""

    async def call(self, method: Callable[..., Any], *arguments: Any, **keywords: Any) -> Any:
        """Returns the result of a method of the client."""
        if self.kind == "blocking":
            return await asyncio.to_thread(method, *arguments, **keywords)
        return await method(*arguments, **keywords)

    async def items(self, method: Callable[..., Any], *arguments: Any, **keywords: Any) -> list[Any]:
        """Returns all items of an iterator of the client."""
        items = method(*arguments, **keywords)
        if self.kind == "blocking":
            return await asyncio.to_thread(list, items)
        return [item async for item in items]


@asynccontextmanager
async def either_client(kind: Kind, url: str, key: str, retries: Retries = QUICK) -> AsyncIterator[EitherClient]:
    """Yields a client of this kind."""
    if kind == "blocking":
        with UnlearningClient(url, key, retries=retries) as client:
            yield EitherClient(kind, client)
    else:
        async with AsyncUnlearningClient(url, key, retries=retries) as client:
            yield EitherClient(kind, cast(UnlearningClient, client))
