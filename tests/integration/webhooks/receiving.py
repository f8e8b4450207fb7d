"""Receivers for the tests: processes on the loopback interface, and what arrived at them."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Thread
from typing import Any

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


@dataclass
class Receiver:
    """A running receiver."""

    port: int
    lines: list[dict[str, Any]] = field(default_factory=list)

    def url(self, path: str, *, scheme: str = "http", host: str = "127.0.0.1") -> str:
        return f"{scheme}://{host}:{self.port}/{path}"

    def at(self, path: str) -> list[dict[str, Any]]:
        """Returns the requests for this path, oldest first."""
        return [line for line in list(self.lines) if line["path"] == f"/{path}"]

    async def wait(self, path: str, count: int = 1) -> list[dict[str, Any]]:
        """Waits for this many requests for the path and returns them. TimeoutError."""
        async with asyncio.timeout(120):
            while len(received := self.at(path)) < count:  # noqa: ASYNC110 - another process prints them
                await asyncio.sleep(0.02)
        return received


@contextmanager
def running_receiver(secret: str = SECRET, certificate: Path | None = None) -> Iterator[Receiver]:
    """Runs a receiver that verifies with this secret until the block ends."""
    command = [sys.executable, "-m", "tests.integration.webhooks.receiver", secret]
    command += [] if certificate is None else [str(certificate)]
    root = Path(__file__).parents[3]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=root) as process:
        try:
            assert process.stdout is not None
            receiver = Receiver(int(process.stdout.readline()))
            reader = Thread(target=_read, args=(process.stdout, receiver), daemon=True)
            reader.start()
            yield receiver
        finally:
            process.kill()
            process.wait()
            reader.join()


def _read(lines: Any, receiver: Receiver) -> None:
    for line in lines:
        receiver.lines.append(json.loads(line))
