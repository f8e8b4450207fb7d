"""A job that nobody can make a statement about holds up neither the statements about others nor the heads."""

import asyncio
from pathlib import Path

import pytest
from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncEngine

from core.records.tables import SignedHeadRow, SigningRequestRow, StatementRow
from core.signing.key_folder import KeyFolder
from core.signing.signer import Signer
from tests.integration.records.scene import Scene
from tests.integration.records.test_completion import finish
from tests.integration.records.test_leases import claim

BREAK_START = text("UPDATE events SET data = '{}' WHERE job = :job AND type = 'started'")


async def finished_job(scene: Scene) -> str:
    job = await scene.job()
    await claim(scene)
    await finish(scene, job, 1)
    return job


async def test_all_else_is_signed_before_the_faulty_job_ends_the_signer(
    clean_engine: AsyncEngine, tmp_path: Path
) -> None:
    scene = await Scene(clean_engine).create()
    await scene.model()
    faulty, sound = await finished_job(scene), await finished_job(scene)
    async with scene.sessions.begin() as session:
        await session.execute(BREAK_START, {"job": faulty})
    signer = Signer(scene.sessions, KeyFolder(tmp_path / "keys"), head_seconds=60.0)
    for _ in range(2):  # the next process meets the same fault
        with pytest.raises(KeyError):
            await asyncio.wait_for(signer.run(asyncio.Event()), 60)
        async with scene.sessions() as session:
            assert list(await session.scalars(select(StatementRow.job))) == [sound]
            assert list(await session.scalars(select(SigningRequestRow.job))) == [faulty]
            heads = set(await session.scalars(select(SignedHeadRow.organisation)))
            assert heads == {scene.organisation}
