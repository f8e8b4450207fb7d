"""A real PostgreSQL and a real Redis for the check of the image, on TCP ports of the loopback address.

    python deploy/image_servers.py DATA ADDRESSES    runs until SIGTERM; ADDRESSES is then a shell file with both URLs

The embedded servers listen on private Unix sockets that the image's user must not enter, so each gets a port here that
passes bytes on. Both ask for their passwords all the same.
"""

import asyncio
import shlex
import signal
import sys
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

sys.path.insert(0, str(Path(__file__).parent.parent))

from core.embedded import Stack


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Until either side has had enough."""
    try:
        while piece := await reader.read(1 << 16):
            writer.write(piece)
            await writer.drain()
    except ConnectionError:
        pass  # the other direction sees the end of it too
    finally:
        writer.close()


async def _port(socket: str) -> int:
    """A free port of the loopback address that leads to the Unix socket."""

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_unix_connection(socket)
        await asyncio.gather(_pass_on(reader, back), _pass_on(there, writer))

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    return int(server.sockets[0].getsockname()[1])


async def _serve(stack: Stack, addresses: Path) -> None:
    database, broker = urlsplit(stack.database_url), urlsplit(stack.redis_url)
    folder = parse_qs(database.query)["host"][0]
    postgres_port = await _port(f"{folder}/.s.PGSQL.5432")
    redis_port = await _port(broker.path)
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
    """Starts both, serves, and stops what it started."""
    stack = Stack.start(Path(sys.argv[1]))
    try:
        asyncio.run(_serve(stack, Path(sys.argv[2])))
    finally:
        stack.stop()


if __name__ == "__main__":
    main()
