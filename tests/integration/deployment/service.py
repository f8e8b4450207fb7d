"""A service of docker-compose.yml as a process on this machine: its command, its environment, its health check."""

import asyncio
import os
import re
import signal
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.integration.deployment.compose_file import ROOT
from tests.integration.deployment.dockerfile import environment

READY_SECONDS = 90.0


@dataclass(frozen=True)
class Service:
    """One service. `replacements` maps the container's addresses and folders to this machine's own."""

    definition: Mapping[str, Any]
    replacements: Mapping[str, str]
    folder: Path
    programs: tuple[Path, ...] = ()

    def translate(self, text: str) -> str:
        """Returns the text with the container's addresses and folders replaced, the longest first."""
        pattern = "|".join(re.escape(word) for word in sorted(self.replacements, key=len, reverse=True))
        return re.sub(pattern, lambda match: self.replacements[match[0]], text)

    @property
    def command(self) -> list[str]:
        return [self.translate(word) for word in self.definition["command"]]

    @property
    def environment(self) -> dict[str, str]:
        """The container's environment, and nothing of this process's own."""
        variables = {**environment(), **self.definition["environment"]}
        path = ":".join(map(str, (*self.programs, Path(sys.executable).parent, "/usr/bin", "/bin")))
        return {name: self.translate(value) for name, value in variables.items()} | {
            "PATH": path,
            "PYTHONPATH": str(ROOT),
        }

    async def run(self, argv: list[str]) -> tuple[int, str]:
        """Runs a command to its end beside the service; returns exit code and output."""
        process = await self._start(argv, asyncio.subprocess.PIPE)
        output, _ = await process.communicate()
        assert process.returncode is not None
        return process.returncode, output.decode()

    async def health(self) -> tuple[int, str]:
        """Runs the health check once, within the timeout that Compose gives it; returns exit code and output."""
        check = self.definition["healthcheck"]
        kind, *argv = [self.translate(word.replace("$$", "$")) for word in check["test"]]
        seconds = float(check["timeout"].removesuffix("s"))
        return await asyncio.wait_for(self.run(argv if kind == "CMD" else ["/bin/sh", "-c", *argv]), seconds)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[asyncio.subprocess.Process]:
        """Starts the service until its health check passes, and stops it as Compose does: SIGTERM, then its grace."""
        with self._log().open("ab") as sink:
            process = await self._start(self.command, sink.fileno())
        try:
            await self._wait_until_healthy(process)
            yield process
            process.send_signal(signal.SIGTERM)
            grace = float(self.definition["stop_grace_period"].removesuffix("s"))
            await asyncio.wait_for(process.wait(), grace)
        finally:
            if process.returncode is None:
                os.killpg(process.pid, signal.SIGKILL)
                await process.wait()

    async def _wait_until_healthy(self, process: asyncio.subprocess.Process) -> None:
        output, deadline = "nothing", time.monotonic() + READY_SECONDS
        while process.returncode is None and time.monotonic() < deadline:
            code, output = await self.health()
            if code == 0:
                return
            await asyncio.sleep(0.2)
        log = self._log().read_text()
        raise AssertionError(f"not healthy ({process.returncode}); its check printed:\n{output}\nits log:\n{log}")

    def _log(self) -> Path:
        return self.folder / "log"

    async def _start(self, argv: list[str], output: int) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            *argv,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=asyncio.subprocess.STDOUT,
            cwd=self.folder,
            env=self.environment,
            start_new_session=True,
        )
