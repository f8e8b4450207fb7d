"""Outages of the database and of the folder of keys are no faults of a job: its try does not count."""

import asyncio
from pathlib import Path

import pytest
from sqlalchemy import func, select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from core.records.tables import SigningRequestRow
from core.signing.key_folder import KeyFolder, KeyMissing
from core.signing.signer import Signer
from tests.integration.records.scene import Scene
from tests.integration.signing.test_faulty_job import finished_job, waiting

END_BLOCKED = text(
    "SELECT pid, pg_terminate_backend(pid) FROM pg_stat_activity"
    " WHERE datname = current_database() AND wait_event_type = 'Lock' AND pid <> ALL(:broken)"
)


async def break_blocked_connection(scene: Scene, broken: list[int]) -> None:
    """Waits until a connection waits for a lock that is not among the `broken` ones, and breaks it."""
    async with asyncio.timeout(60):
        while True:
            async with scene.sessions() as session:
                ended = (await session.execute(END_BLOCKED, {"broken": broken})).all()
            if ended:
                broken += [row.pid for row in ended]
                return
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("outages", [1, 2])
async def test_a_connection_that_breaks_while_a_statement_is_made_costs_no_try(
    clean_engine: AsyncEngine, tmp_path: Path, outages: int
) -> None:
    scene = await Scene(clean_engine).create()
    await scene.model()
    job = await finished_job(scene)
    signer = Signer(scene.sessions, KeyFolder(tmp_path / "keys"), head_seconds=60.0)
    await signer.ensure_keys()
    async with scene.sessions.begin() as blocker:
        lock = func.pg_advisory_xact_lock(func.hashtextextended(f"statement {job}", 0))
        await blocker.execute(select(lock))
        signing = asyncio.create_task(signer.sign_statements())
        async with asyncio.timeout(60):
            while (await waiting(scene))[0].tries == 0:  # noqa: ASYNC110 - no event says it
                await asyncio.sleep(0.02)
        if outages == 2:  # the second one while the try is given back
            await blocker.execute(select(SigningRequestRow).with_for_update())
        broken = list[int]()
        for _ in range(outages):
            await break_blocked_connection(scene, broken)
        with pytest.raises(DBAPIError):
            await asyncio.wait_for(signing, 60)
    assert (await waiting(scene))[0].tries == outages - 1
    assert await signer.sign_statements() == 1, "the job waits, as if its statement had failed"


@pytest.mark.parametrize("error", [KeyMissing, NotADirectoryError])
async def test_without_its_keys_the_signer_takes_no_job(
    clean_engine: AsyncEngine, tmp_path: Path, error: type[Exception]
) -> None:
    scene = await Scene(clean_engine).create()
    await scene.model()
    await finished_job(scene)
    keys, aside = tmp_path / "keys", tmp_path / "aside"
    signer = Signer(scene.sessions, KeyFolder(keys), head_seconds=60.0)
    await signer.ensure_keys()
    keys.rename(aside)
    if error is NotADirectoryError:
        keys.touch()
    for _ in range(3):
        with pytest.raises(error):
            await signer.sign_statements()
    assert (await waiting(scene))[0].tries == 0
    keys.unlink(missing_ok=True)
    aside.rename(keys)
    assert await signer.sign_statements() == 1
