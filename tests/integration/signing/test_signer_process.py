"""The signer's process: it waits for its database, and ends where something else is wrong."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator

import pytest_asyncio
from sqlalchemy import text

from core.records.engine import make_engine
from tests.integration.api.service import wait_until
from tests.integration.signing.conftest import Signing

END_OTHERS = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = current_user AND pid <> pg_backend_pid()"
)


def start(signing: Signing) -> subprocess.Popen[bytes]:
    with (signing.folder / "signer.log").open("wb") as log:
        argv = [sys.executable, "-m", "api.cli", "signer", "run"]
        return subprocess.Popen(argv, env=signing.environment(), cwd=signing.folder, stdout=log, stderr=log)


@pytest_asyncio.fixture
async def process(signing: Signing) -> AsyncIterator[subprocess.Popen[bytes]]:
    """A signer that has made its keys."""
    process = start(signing)
    try:
        await wait_until(lambda: len(list(signing.keys.glob("*.pem"))) == 2, seconds=60)
        yield process
    finally:
        process.kill()
        process.wait()


async def test_a_signer_whose_connections_break_goes_on(signing: Signing, process: subprocess.Popen[bytes]) -> None:
    alive = signing.keys / "alive"
    await wait_until(alive.exists, seconds=60)
    engine = make_engine(signing.database_url)
    async with engine.connect() as connection:
        await connection.execute(text(END_OTHERS))
    await engine.dispose()
    before = alive.stat().st_mtime_ns
    await asyncio.to_thread(alive.unlink)
    await wait_until(alive.exists, seconds=60)
    assert alive.stat().st_mtime_ns > before
    assert process.poll() is None


async def test_a_signer_without_its_private_key_ends_and_says_what_to_do(
    signing: Signing, process: subprocess.Popen[bytes]
) -> None:
    for file in signing.keys.glob("*.pem"):
        file.unlink()
    await wait_until(lambda: process.poll() is not None, seconds=60)
    assert process.returncode == 1
    assert (
        "is not in the folder of keys: restore its file, or rotate the keys"
        in (signing.folder / "signer.log").read_text()
    )
