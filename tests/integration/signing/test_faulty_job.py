"""A job that no statement can be made about is tried again after growing pauses, and holds up nothing else."""

import asyncio
import logging
import signal
from collections.abc import Sequence
from pathlib import Path

import pytest
from sqlalchemy import Row, func, select, text
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from core.records import statements
from core.records.engine import make_engine
from core.records.tables import SignedHeadRow, SigningRequestRow, StatementRow
from core.signing.key_folder import KeyFolder
from core.signing.signer import PAUSES, Signer
from tests.integration.records.scene import Scene
from tests.integration.records.test_completion import finish
from tests.integration.records.test_leases import claim
from tests.integration.signing.conftest import Signing

CANARY = "zq-canary-7731"
BREAK_START = text(f"UPDATE events SET data = '{{\"note\": \"{CANARY}\"}}' WHERE job = :job AND type = 'started'")
MEND_START = text("UPDATE events SET data = '{\"attempt\": 1}' WHERE job = :job AND type = 'started'")
END_PAUSE = text("UPDATE signing_requests SET next_try_at = clock_timestamp() WHERE job = :job")


async def finished_job(scene: Scene) -> str:
    job = await scene.job()
    await claim(scene)
    await finish(scene, job, 1)
    return job


async def change(scene: Scene, *changes: object, job: str) -> None:
    async with scene.sessions.begin() as session:
        for statement in changes:
            await session.execute(statement, {"job": job})  # type: ignore[call-overload]


async def waiting(scene: Scene) -> Sequence[Row[tuple[str, int, float]]]:
    """Returns the jobs that wait for a statement, each with its tries and the seconds until its next try."""
    pause = func.extract("epoch", SigningRequestRow.next_try_at - func.clock_timestamp())
    async with scene.sessions() as session:
        return (await session.execute(select(SigningRequestRow.job, SigningRequestRow.tries, pause))).all()


async def signed(session: AsyncSession) -> set[str]:
    return set(await session.scalars(select(StatementRow.job)))


async def wait_for_tries(scene: Scene, job: str, tries: int) -> None:
    """Waits until this job alone waits for a statement, and the signer has begun so many tries."""
    async with asyncio.timeout(60):
        while [(row.job, row.tries) for row in await waiting(scene)] != [(job, tries)]:  # noqa: ASYNC110 - no event
            await asyncio.sleep(0.05)


async def wait_for_statement(scene: Scene, job: str) -> None:
    async with asyncio.timeout(60):
        while True:
            async with scene.sessions() as session:
                if job in await signed(session):
                    return
            await asyncio.sleep(0.05)


async def run_for_a_round(scene: Scene, folder: Path) -> None:
    """Runs a new signer until it gives its first sign of life, at the end of a round."""
    (folder / "keys" / "alive").unlink(missing_ok=True)
    signer, stop = Signer(scene.sessions, KeyFolder(folder / "keys"), head_seconds=60.0), asyncio.Event()
    running = asyncio.create_task(signer.run(stop))
    async with asyncio.timeout(60):
        while not (folder / "keys" / "alive").exists() and not running.done():  # noqa: ASYNC110 - no event says it
            await asyncio.sleep(0.02)
    stop.set()
    await running


async def test_a_faulty_job_is_tried_again_by_signer_after_signer_and_all_else_is_signed(
    clean_engine: AsyncEngine, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    scene = await Scene(clean_engine).create()
    await scene.model()
    faulty, sound = await finished_job(scene), await finished_job(scene)
    await change(scene, BREAK_START, job=faulty)
    for tries in range(1, len(PAUSES) + 2):
        await run_for_a_round(scene, tmp_path)
        ((job, tried, pause),) = await waiting(scene)
        expected = PAUSES[min(tries, len(PAUSES)) - 1]
        assert (job, tried) == (faulty, tries)
        assert expected - 10 < pause <= expected
        async with scene.sessions() as session:
            assert await signed(session) == {sound}
            assert set(await session.scalars(select(SignedHeadRow.organisation))) == {scene.organisation}
        await run_for_a_round(scene, tmp_path)
        assert (await waiting(scene))[0].tries == tries, "the signer came back before the pause was over"
        await change(scene, END_PAUSE, job=faulty)
    message = next(record.getMessage() for record in caplog.records if record.levelno == logging.ERROR)
    assert message.startswith(f"no statement about {faulty}: KeyError at report/attempts.py:")
    assert CANARY not in caplog.text

    await change(scene, MEND_START, job=faulty)
    await run_for_a_round(scene, tmp_path)
    async with scene.sessions() as session:
        assert await signed(session) == {faulty, sound}
    assert await waiting(scene) == []


async def test_a_new_reason_for_a_statement_is_a_try_at_once(clean_engine: AsyncEngine, tmp_path: Path) -> None:
    scene = await Scene(clean_engine).create()
    await scene.model()
    faulty = await finished_job(scene)
    await change(scene, BREAK_START, job=faulty)
    await run_for_a_round(scene, tmp_path)
    await change(scene, MEND_START, job=faulty)
    async with scene.sessions.begin() as session:
        await statements.request(session, faulty)
    await run_for_a_round(scene, tmp_path)
    assert await waiting(scene) == [], "the postponed request is answered as well"


async def test_of_two_signers_with_one_job_the_second_finds_it_answered(clean_engine: AsyncEngine) -> None:
    scene = await Scene(clean_engine).create()
    await scene.model()
    job = await finished_job(scene)
    taken = []
    for _ in range(2):  # the first signer is slow: the pause ends while it signs
        async with scene.sessions.begin() as session:
            taken.append(await statements.take_next(session, pauses=PAUSES))
        await change(scene, END_PAUSE, job=job)
    assert taken[0] is not None
    assert taken[1] is not None
    async with scene.sessions.begin() as second:
        async with scene.sessions.begin() as first:
            assert await statements.complete(first, taken[0])
            answer = asyncio.create_task(statements.complete(second, taken[1]))
            done, _ = await asyncio.wait({answer}, timeout=0.5)
            assert not done, "the second did not wait for the first"
        assert not await answer


async def test_a_job_over_which_the_signer_dies_holds_up_no_other(signing: Signing) -> None:
    scene = await Scene(make_engine(signing.service.settings.database_url.get_secret_value())).create()
    await scene.model()
    deadly = await finished_job(scene)
    async with scene.sessions.begin() as blocker:
        await blocker.execute(text("LOCK TABLE events IN ACCESS EXCLUSIVE MODE"))
        with signing.running(ends_with=-signal.SIGKILL) as process:
            await wait_for_tries(scene, deadly, 1)
            process.kill()
    sound = await finished_job(scene)
    with signing.running():
        await wait_for_statement(scene, sound)
        await wait_for_tries(scene, deadly, 1)
        await change(scene, BREAK_START, END_PAUSE, job=deadly)
        await wait_for_tries(scene, deadly, 2)
        async with signing.service.client(organisation=scene.organisation) as client:
            answer = await client.get(f"/v1/jobs/{deadly}/statement")
            assert (answer.status_code, answer.json()["type"].rpartition(":")[2]) == (409, "statement-failed")
            assert "tries: 2" in answer.json()["detail"]
            assert 30 < int(answer.headers["retry-after"]) <= 60
            lines = (await client.get("/metrics")).text.splitlines()
            assert {"unlearning_statements_waiting 1.0", "unlearning_statements_failing 1.0"} <= set(lines)
        await change(scene, MEND_START, END_PAUSE, job=deadly)
        await wait_for_statement(scene, deadly)
    await scene.engine.dispose()
