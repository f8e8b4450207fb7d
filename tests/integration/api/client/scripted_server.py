"""A local server whose answers are written in advance."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field


@dataclass
class ScriptedServer:
    """Gives each answer to one request, in their order; further requests get the last answer again."""

    answers: list[bytes]
    url: str = ""
    requests: list[str] = field(default_factory=list)
    """The head of each request."""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serves one connection, which ends with its answer."""
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            for length in re.findall(r"content-length: (\d+)", head, re.IGNORECASE):
                await reader.readexactly(int(length))
            self.requests.append(head)
            writer.write(self.answers[min(len(self.requests), len(self.answers)) - 1])
            await writer.drain()
        finally:
            writer.close()
            await writer.wait_closed()


def http_answer(status: str, body: bytes = b"", *, length: int | None = None, **headers: str) -> bytes:
    """Returns an answer. A `length` greater than the body's makes the line break before the end."""
    fields = {**headers, "Content-Length": str(len(body) if length is None else length), "Connection": "close"}
    lines = [f"HTTP/1.1 {status}", *(f"{name.replace('_', '-')}: {value}" for name, value in fields.items())]
    return "\r\n".join([*lines, "", ""]).encode() + body


@asynccontextmanager
async def scripted_server(*answers: bytes) -> AsyncIterator[ScriptedServer]:
    """Yields a server at a URL."""
    script = ScriptedServer(list(answers))
    connections: set[asyncio.Task[None]] = set()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(script.serve(reader, writer))
        connections.add(task)
        await asyncio.gather(task, return_exceptions=True)

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    script.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield script
    finally:
        server.close()
        for task in connections:
            task.cancel()
        await asyncio.gather(*connections, return_exceptions=True)
        await server.wait_closed()
