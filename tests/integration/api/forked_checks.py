"""Forked processes that check a model's weights or merge an adapter, where a new interpreter imports for seconds."""

import asyncio
import os

from api.models import torch_process
from tests.fork_server import ForkedProcess


class ForkedCheck:
    """A forked process, used like asyncio's `Process`."""

    def __init__(self, module: str, *arguments: str) -> None:
        devnull = os.open(os.devnull, os.O_WRONLY)
        try:
            self._process = ForkedProcess(module, arguments, env=torch_process.environment(), stderr=devnull)
        finally:
            os.close(devnull)

    @property
    def returncode(self) -> int | None:
        return self._process.returncode

    async def communicate(self) -> tuple[bytes, None]:
        output = await asyncio.to_thread(self._read)
        return output, None

    def kill(self) -> None:
        self._process.kill()

    async def wait(self) -> int:
        return await asyncio.to_thread(self._process.wait)

    def _read(self) -> bytes:
        with self._process.stdin, self._process.stdout as output:
            answer = output.read()
        self._process.wait()
        return answer.encode()


async def start(module: str, *arguments: str) -> ForkedCheck:
    """Stands in for `torch_process.start`."""
    return await asyncio.to_thread(ForkedCheck, module, *arguments)
