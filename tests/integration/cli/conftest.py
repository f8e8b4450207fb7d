"""The `unlearn` command as a person runs it: real processes, one data folder for all of these tests."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.servers import short_folder

ROOT = Path(__file__).parents[3]
SIZES = ["--forget-records", "12", "--retain-records", "24", "--unseen-records", "24"]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass(frozen=True)
class CommandLine:
    """`unlearn`, on one data folder and one port."""

    data: Path
    port: int

    def environment(self) -> dict[str, str]:
        settings = ("DATABASE_URL", "REDIS_URL", "STORAGE_URL", "UNLEARN_URL", "UNLEARN_KEY", "MODEL_ROOTS")
        inherited = {name: value for name, value in os.environ.items() if name not in settings}
        return inherited | {"PYTHONPATH": str(ROOT), "COLUMNS": "160", "UNLEARN_DATA": str(self.data)}

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "api.cli", *arguments]

    def __call__(self, *arguments: str, timeout: float = 600) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*arguments),
            env=self.environment(),
            cwd=self.data.parent,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )


@pytest.fixture(scope="package")
def line() -> Iterator[CommandLine]:
    """The command on a data folder with a short path. A service that runs there at the end is stopped."""
    with short_folder() as folder:
        line = CommandLine(folder / "data", free_port())
        yield line
        line("down")


@pytest.fixture(scope="package")
def demo_output(line: CommandLine) -> str:
    """The output of a small demo, whose service has stopped again."""
    done = line("demo", *SIZES, "--port", str(line.port))
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="package")
def running(line: CommandLine, demo_output: str) -> str:
    """The address of the service of the demo's folder, which is left running."""
    done = line("up", "--detach", "--port", str(line.port))
    assert done.returncode == 0, done.stdout + done.stderr
    return f"http://127.0.0.1:{line.port}"
