"""What a job leaves on a worker's disk: unreadable without the job's key, and for good once the job has ended."""

import asyncio
import threading
from collections.abc import Coroutine, Iterator
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession
from torch import Tensor, uint8
from transformers import AutoTokenizer

from core.lm.sealed_tensors import read_tensors
from core.records import job_actions, job_status, leases
from core.records.leases import FenceLost
from core.storage import snapshot_keys
from core.storage.file_keys import FileKeys, KeyDestroyed
from tests.integration.records.test_completion import finish
from tests.integration.records.test_leases import claim
from tests.integration.worker.test_resuming import wait_for_step
from tests.integration.worker.worker_setup import CANARY, WorkerProcess, WorkerSetup, terminate, wait_for
from worker import collector, snapshot_store
from worker.scratch import remove_folder

WAITING = "SELECT count(*) FROM pg_locks WHERE NOT granted AND transactionid = pg_current_xact_id()::xid"
"""Other transactions that wait for the end of this one."""


def snapshot_files(setup: WorkerSetup, job: str) -> list[Path]:
    return sorted((setup.scratch / job / "snapshots").glob("*/*/tensors-*"))


def tensors(files: list[Path], key: bytes) -> Iterator[tuple[str, Tensor]]:
    for path in files:
        step, fence = path.parent, path.parent.parent
        yield from read_tensors(path, key, f"{fence.name}/{step.name}/{path.name}".encode())


async def stop_with_snapshot(setup: WorkerSetup, job: str, worker: WorkerProcess) -> None:
    """Lets the job make updates, and shuts its worker down: the job waits in the queue, with a snapshot."""
    await wait_for_step(setup, job)
    terminate(worker)
    assert await worker.exit_code(seconds=30) == 0
    assert snapshot_files(setup, job)


async def snapshot_key(setup: WorkerSetup, job: str) -> bytes:
    return await setup.keys.data_key(job, (await setup.scene.row(job)).snapshot_key)


def plain_forms(setup: WorkerSetup, model: Path) -> list[bytes]:
    """Returns the forget text, and its token ids as they could be written: as text and as binary numbers."""
    ids = AutoTokenizer.from_pretrained(model)(f"Person 1 keeps {CANARY} at home")["input_ids"]
    words = [CANARY, "Vexford", str(ids[2:8]).strip("[]"), str(ids[2:8]).replace(" ", "").strip("[]")]
    return [word.encode() for word in words] + [np.array(ids[2:8], kind).tobytes() for kind in ("int64", "int32")]


async def test_no_weight_and_no_forget_text_lies_readable_in_scratch(setup: WorkerSetup, small_model: Path) -> None:
    job = await setup.job(epochs=100_000, retain=True)
    worker = setup.worker()
    await wait_for_step(setup, job)
    secrets = plain_forms(setup, small_model)
    running = [file.read_bytes() for file in setup.scratch_files() if file.is_file() and not file.is_socket()]
    await stop_with_snapshot(setup, job, worker)
    paused = [file.read_bytes() for file in setup.scratch_files()]
    stored = dict(tensors(snapshot_files(setup, job), await snapshot_key(setup, job)))
    weights = [name for name in stored if name.startswith(("weight/", "optimizer/exp_avg", "optimizer/plain"))]
    assert len(weights) > 4
    for name in weights:
        secrets.append(stored[name].view(-1).view(uint8).numpy().tobytes()[:64])
    for content in (*running, *paused):
        assert not [secret for secret in secrets if secret in content and secret.strip(b"\0")]
    assert (setup.scratch / job / "snapshots" / "before.sealed").is_file()  # the figures on the forget set


async def test_another_worker_reads_the_snapshot_and_the_jobs_end_takes_the_key(setup: WorkerSetup) -> None:
    job = await setup.job(epochs=100_000)
    await stop_with_snapshot(setup, job, setup.worker())
    key = await snapshot_key(setup, job)
    other = setup.worker()
    await wait_for_step(setup, job)
    assert "resumed" in await setup.event_types(job)
    await stop_with_snapshot(setup, job, other)
    assert await snapshot_key(setup, job) == key

    file = snapshot_files(setup, job)[0]
    leftover = setup.folder / file.relative_to(setup.scratch)  # a copy that no sweeper finds
    leftover.parent.mkdir(parents=True)
    leftover.write_bytes(file.read_bytes())
    assert list(tensors([leftover], key))
    async with setup.scene.sessions.begin() as session:
        await job_actions.cancel(session, setup.scene.organisation, job)
    assert await collector.collect_snapshots(setup.scene.sessions, setup.scratch, setup.keys) == 1
    assert setup.scratch_files() == []
    assert (await setup.scene.row(job)).snapshot_key is None
    assert [id async for id in snapshot_keys.stored(setup.keys)] == []
    with pytest.raises(KeyDestroyed):  # so that nobody opens the copy
        await snapshot_key(setup, job)


async def test_a_changed_byte_is_refused_by_name_and_the_job_begins_anew(setup: WorkerSetup) -> None:
    job = await setup.job(epochs=100_000)
    await stop_with_snapshot(setup, job, setup.worker())
    (file,) = snapshot_files(setup, job)
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    setup.worker()
    await wait_for_step(setup, job)
    warned = [event.data for event in await setup.scene.events(job) if event.type == "warning"]
    assert [data["code"] for data in warned if data["code"].startswith("snapshot")] == ["snapshot_not_used"]
    assert "it is damaged" in str(warned)
    assert "resumed" not in await setup.event_types(job)


@pytest.mark.parametrize("key_store", [True, False])
async def test_a_job_has_one_key_until_it_ends(setup: WorkerSetup, key_store: bool) -> None:
    keys = setup.keys if key_store else FileKeys(setup.settings.service_key())
    job, other = await setup.scene.job(), await setup.scene.job()
    for _ in range(2):
        await claim(setup.scene)

    async def key_of(job: str, fence: int = 1) -> bytes:
        async with setup.scene.sessions.begin() as session:
            return await snapshot_keys.claim(session, job, fence, keys=keys)

    key = await key_of(job)
    assert await key_of(job) == key != await key_of(other)
    assert ((await setup.scene.row(job)).snapshot_key is None) == key_store
    with pytest.raises(FenceLost):
        await key_of(job, fence=7)
    await finish(setup.scene, job, 1)
    assert (await setup.scene.row(job)).snapshot_key is None
    assert await collector.collect_snapshot_keys(setup.scene.sessions, keys) == (1 if key_store else 0)
    with pytest.raises(KeyDestroyed):
        await keys.data_key(job, (await setup.scene.row(job)).snapshot_key)
    assert await keys.data_key(other, (await setup.scene.row(other)).snapshot_key) == await key_of(other)


async def discard(setup: WorkerSetup, job: str, place: str) -> None:
    """Deletes what an ended job left, in one of the three places that do so."""
    sessions = setup.scene.sessions
    if place == "end of the attempt":
        await snapshot_store.discard(sessions, job, setup.scratch / job / "snapshots", setup.keys)
    elif place == "sweep of snapshots":
        await collector.collect_snapshots(sessions, setup.scratch, setup.keys)
    else:
        await collector.collect_snapshot_keys(sessions, setup.keys)


async def fail(setup: WorkerSetup, job: str, fence: int) -> None:
    async with setup.scene.sessions.begin() as session:
        await job_status.fail(session, await leases.lock_job(session, job, fence), {"code": "x"})


async def run_beside(session: AsyncSession, step: Coroutine[None, None, None]) -> asyncio.Task[None]:
    """Starts the step, and returns when it has ended or waits for the end of the session's transaction."""
    task = asyncio.create_task(step)

    async def waits_or_ends() -> bool:
        return task.done() or bool(await session.scalar(text(WAITING)))

    await wait_for(waits_or_ends)
    return task


@pytest.mark.parametrize("place", ["end of the attempt", "sweep of snapshots", "sweep of keys"])
async def test_a_retry_at_once_keeps_key_and_snapshots_that_the_failed_attempt_would_delete(
    setup: WorkerSetup, place: str
) -> None:
    job = await setup.scene.job()
    snapshot = setup.scratch / job / "snapshots" / "1" / "9"
    snapshot.mkdir(parents=True)
    await claim(setup.scene)
    async with setup.scene.sessions.begin() as session:
        key = await snapshot_keys.claim(session, job, 1, keys=setup.keys)
    await fail(setup, job, 1)
    async with setup.scene.sessions.begin() as session:
        await job_actions.retry(session, setup.scene.organisation, job)
        discarding = await run_beside(session, discard(setup, job, place))
    await discarding
    assert await snapshot_key(setup, job) == key
    assert snapshot.is_dir()
    await claim(setup.scene)
    await fail(setup, job, 3)
    await discard(setup, job, "end of the attempt")
    assert not (setup.scratch / job).exists()
    with pytest.raises(KeyDestroyed):
        await snapshot_key(setup, job)


@pytest.mark.parametrize("place", ["end of the attempt", "sweep of snapshots"])
async def test_a_retry_waits_until_the_snapshots_of_the_failed_attempt_are_removed(
    setup: WorkerSetup, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = await setup.scene.job()
    snapshots = setup.scratch / job / "snapshots"
    (snapshots / "1" / "9").mkdir(parents=True)
    await claim(setup.scene)
    await fail(setup, job, 1)
    removing, go_on = threading.Event(), threading.Event()

    def remove_slowly(folder: Path) -> None:
        removing.set()
        assert go_on.wait(60)
        remove_folder(folder)

    monkeypatch.setattr(snapshot_store, "remove_folder", remove_slowly)
    discarding = asyncio.create_task(discard(setup, job, place))
    assert await asyncio.to_thread(removing.wait, 60)

    async def next_attempt() -> None:
        async with setup.scene.sessions.begin() as session:
            await job_actions.retry(session, setup.scene.organisation, job)
        await claim(setup.scene)
        (snapshots / "3" / "2").mkdir(parents=True)

    attempt = asyncio.create_task(next_attempt())
    done, _ = await asyncio.wait({attempt}, timeout=0.5)
    assert not done, "the job was retried while its snapshots were being removed"
    go_on.set()
    await asyncio.gather(discarding, attempt)
    assert [path.name for path in snapshots.glob("*/*")] == ["2"]


async def test_a_run_that_is_claimed_again_at_once_keeps_its_new_snapshots(setup: WorkerSetup) -> None:
    job = await setup.scene.job()
    snapshot = setup.scratch / job / "snapshots" / "1" / "9"
    snapshot.mkdir(parents=True)
    await claim(setup.scene)
    async with setup.scene.sessions.begin() as session:
        assert await leases.leave_run(session, job, 1) == "queued"
    async with setup.scene.sessions.begin() as session:
        await leases.claim(session, worker="another", gpus=0, lease_seconds=60.0)
        drop = snapshot_store.drop_unused(setup.scene.sessions, job, snapshot.parent.parent)
        dropping = await run_beside(session, drop)
    await dropping
    assert snapshot.is_dir()
    async with setup.scene.sessions.begin() as session:
        await leases.leave_run(session, job, 3)
    await snapshot_store.drop_unused(setup.scene.sessions, job, snapshot.parent.parent)
    assert not (setup.scratch / job).exists()


async def test_a_key_of_a_service_key_that_is_gone_is_replaced(setup: WorkerSetup) -> None:
    job = await setup.scene.job()
    await claim(setup.scene)
    former = FileKeys(bytes(32), setup.keys.store)
    async with setup.scene.sessions.begin() as session:
        first = await snapshot_keys.claim(session, job, 1, keys=former)
        second = await snapshot_keys.claim(session, job, 1, keys=setup.keys)
        assert first != second == await snapshot_keys.claim(session, job, 1, keys=setup.keys)


async def test_old_keys_of_unfinished_jobs_outlive_the_search_for_keys_without_a_file(setup: WorkerSetup) -> None:
    old_job, old_file = "job-" + "0" * 32, "file-" + "0" * 32
    for id in (old_job, old_file):
        await setup.keys.keep(id, bytes(32))
    assert await collector.collect_uploads(setup.scene.sessions, setup.storage, setup.keys) == 1
    assert [id async for id in setup.keys.store.ids()] == [old_job]  # type: ignore[union-attr]
