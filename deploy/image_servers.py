"""A real PostgreSQL and a real Redis for the check of the image, on TCP ports of the loopback address.

    python deploy/image_servers.py DATA ADDRESSES    runs until SIGTERM; ADDRESSES becomes a shell file with both URLs

The embedded servers listen on private Unix sockets that the image's user may not open, so this program forwards a port
to each. Both servers still ask for their passwords.
"""

import asyncio
import shlex
import signal
import sys
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

sys.path.insert(0, str(Path(__file__).parent.parent))

from core.embedded import Stack


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Copies bytes until either side closes."""
    try:
        while chunk := await reader.read(1 << 16):
            writer.write(chunk)
            await writer.drain()
    except ConnectionError:
        pass  # the other direction ends as well
    finally:
        writer.close()


async def _forward_port(socket: str) -> int:
    """Forwards a free port of the loopback address to the Unix socket; returns the port."""

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        socket_reader, socket_writer = await asyncio.open_unix_connection(socket)
        await asyncio.gather(_copy(reader, socket_writer), _copy(socket_reader, writer))

    server = await asyncio.start_server(forward, "127.0.0.1", 0)
    return int(server.sockets[0].getsockname()[1])


async def _serve(stack: Stack, addresses: Path) -> None:
    database, broker = urlsplit(stack.database_url), urlsplit(stack.redis_url)
    folder = parse_qs(database.query)["host"][0]
    postgres_port = await _forward_port(f"{folder}/.s.PGSQL.5432")
    redis_port = await _forward_port(broker.path)
    urls = {
        "DATABASE_URL": f"postgresql+asyncpg://{database.username}:{database.password}@127.0.0.1:{postgres_port}{database.path}",
        "REDIS_URL": f"redis://:{broker.password}@127.0.0.1:{redis_port}/0",
    }
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    draft = addresses.with_suffix(".draft")
    draft.touch(mode=0o600)
    draft.write_text("".join(f"{name}={shlex.quote(url)}\n" for name, url in urls.items()))
    draft.replace(addresses)
    await stop.wait()


def main() -> None:
    """Starts both servers, serves until SIGTERM, and stops both."""
    stack = Stack.start(Path(sys.argv[1]))
    try:
        asyncio.run(_serve(stack, Path(sys.argv[2])))
    finally:
        stack.stop()


if __name__ == "__main__":
    main()
