"""A real signer: a process of its own with its own role of the database, beside a real API."""

import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest_asyncio
from sqlalchemy import make_url

from core.embedded import Stack
from core.records import roles
from tests.integration.api.service import Service, make_settings, run_service
from tests.servers import new_database

ROOT = Path(__file__).parents[3]


@dataclass
class Signing:
    """A service, and the signer's command on the same database."""

    service: Service
    database_url: str
    folder: Path

    @property
    def keys(self) -> Path:
        return self.folder / "signing-keys"

    def environment(self) -> dict[str, str]:
        return {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT),
            "COLUMNS": "200",
            "DATABASE_URL": self.database_url,
            "REDIS_URL": "redis://nowhere:1/0",
            "SERVICE_KEY_FILE": "/dev/null",
            "SIGNING_DIR": str(self.keys),
            "HEAD_SIGNING_SECONDS": "0.2",
            "UNLEARN_DATA": str(self.folder / "none"),
        }

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "api.cli", "signer", *arguments],
            env=self.environment(),
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
        )

    @contextmanager
    def running(self, *, ends_with: int = 0) -> Iterator[subprocess.Popen[bytes]]:
        """Runs the signer until the block ends, and expects that it then ends by itself, or was killed."""
        with (self.folder / "signer.log").open("ab") as log:
            argv = [sys.executable, "-m", "api.cli", "signer", "run"]
            process = subprocess.Popen(argv, env=self.environment(), cwd=self.folder, stdout=log, stderr=log)
        try:
            yield process
            process.terminate()
            assert process.wait(timeout=30) == ends_with, (self.folder / "signer.log").read_text()
        finally:
            process.kill()
            process.wait()


def in_database(url: str, database: str) -> str:
    return make_url(url).set(database=make_url(database).database).render_as_string(hide_password=False)


@pytest_asyncio.fixture
async def signing(stack: Stack, tmp_path: Path) -> AsyncIterator[Signing]:
    """A service as its own role, without a signer yet."""
    async with new_database(stack) as owner:
        service_url, signer_url = (in_database(url, owner) for url in (stack.service_url, stack.signer_url))
        await roles.prepare(owner, service_url=service_url, signer_url=signer_url)
        async with run_service(make_settings(tmp_path, service_url, stack.redis_url)) as service:
            yield Signing(service, signer_url, tmp_path)
