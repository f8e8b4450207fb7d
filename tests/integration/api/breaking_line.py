"""A line to the service that breaks while an answer is sent."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

BLOCK = 64 << 10


@dataclass
class BreakingLine:
    """Passes bytes to and from a local port. The first answer with `path` in its request ends after `cut` bytes."""

    port: int
    path: str
    cut: int
    method: str = "GET"
    url: str = ""
    ranges: list[str] = field(default_factory=list)
    """The `Range` of each request of the path, `all` where there was none."""

    async def serve(self, client: asyncio.StreamReader, client_writer: asyncio.StreamWriter) -> None:
        """Serves one connection of a client."""
        service, service_writer = await asyncio.open_connection("127.0.0.1", self.port)
        left: list[int] = []

        async def pass_requests() -> None:
            while data := await client.read(BLOCK):
                head = data.decode("latin-1")
                if head.startswith(f"{self.method} ") and self.path in head.split("\r\n")[0]:
                    ranges = [line[6:].strip() for line in head.split("\r\n") if line.lower().startswith("range:")]
                    if not self.ranges:
                        left.append(self.cut)
                    self.ranges.append(ranges[0] if ranges else "all")
                service_writer.write(data)
                await service_writer.drain()

        requests = asyncio.create_task(pass_requests())
        try:
            while data := await service.read(BLOCK):
                if left:
                    data = data[: left[0]]
                    left[0] -= len(data)
                client_writer.write(data)
                await client_writer.drain()
                if left == [0]:
                    break
        finally:
            requests.cancel()
            for writer in (client_writer, service_writer):
                writer.close()
            await asyncio.gather(
                requests, client_writer.wait_closed(), service_writer.wait_closed(), return_exceptions=True
            )


@asynccontextmanager
async def breaking_line(service_url: str, path: str, *, cut: int, method: str = "GET") -> AsyncIterator[BreakingLine]:
    """Yields a line to the service at a URL."""
    line = BreakingLine(int(service_url.rpartition(":")[2]), path, cut, method)
    connections: set[asyncio.Task[None]] = set()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(line.serve(reader, writer))
        connections.add(task)
        await asyncio.gather(task, return_exceptions=True)

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    line.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield line
    finally:
        server.close()
        for task in connections:
            task.cancel()
        await asyncio.gather(*connections, return_exceptions=True)
        await server.wait_closed()
