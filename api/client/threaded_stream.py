"""The body of an upload, for an event loop that goes on while the file is read."""

import asyncio
from collections.abc import AsyncIterator

import httpx


class ThreadedStream(httpx.AsyncByteStream):
    """Sends the blocks of a blocking stream; a thread reads each of them."""

    def __init__(self, stream: httpx.SyncByteStream) -> None:
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        blocks = iter(self._stream)
        while (block := await asyncio.to_thread(next, blocks, None)) is not None:
            yield block
