"""Rehearsal samples that a worker keeps: used by later jobs, sealed, and gone with their key."""

from typing import Any

from sqlalchemy import select, text

from core.records import job_actions, models
from core.records.jobs import FileUse
from core.records.tables import EventRow, SampleKeyRow
from core.schema.record import Record
from tests.integration.records.scene import TRAINING
from tests.integration.worker.worker_setup import WorkerSetup
from worker import collector
from worker.scratch import sample_folders


async def calibrated_job(setup: WorkerSetup, name: str, **values: Any) -> str:
    """A job by `calibrated` from the base model that brings nothing but one record to forget."""
    file = await setup.upload("forget", [Record(text=f"{name} lives in Ulmstead and keeps bees.")])
    training = TRAINING.model_copy(update={"epochs": 2, "learning_rate": 1e-5})
    return await setup.scene.job(
        files=[FileUse(file, "forget")],
        method="calibrated",
        training=training.model_dump(mode="json"),
        measure=["likelihood"],
        **values,
    )


async def keys(setup: WorkerSetup) -> list[str]:
    async with setup.scene.sessions() as session:
        return list(await session.scalars(select(SampleKeyRow.id).order_by(SampleKeyRow.id)))


async def written_tokens(setup: WorkerSetup, job: str) -> int:
    """Tokens that went through the model before the first update but to measure, by the job's `cost` event."""
    async with setup.scene.sessions() as session:
        query = select(EventRow.data).where(EventRow.job == job, EventRow.type == "cost")
        cost = (await session.scalars(query)).one()
    return int(cost["passed"].get("loading", 0)) + int(cost["passed"]["unlearning"])


async def test_a_later_job_on_the_same_model_writes_no_sample_again(setup: WorkerSetup) -> None:
    setup.worker()
    first = await calibrated_job(setup, "Person 1")
    row = await setup.wait_for_status(first, "succeeded", "failed", seconds=120)
    assert row.status == "succeeded", (row.error, setup.logs())
    made = {(used["name"], used["origin"]) for used in row.data}
    assert ("retain", "made_by_the_model") in made
    (key,) = await keys(setup)
    ((folder_key, folder),) = sample_folders(setup.scratch)
    assert folder_key == key
    files = {file.name: file.read_bytes() for file in folder.glob("*.samples")}
    assert len(files) >= 2  # for the made sets, and to rehearse
    second = await calibrated_job(setup, "Person 1")
    row = await setup.wait_for_status(second, "succeeded", "failed", seconds=120)
    assert row.status == "succeeded", (row.error, setup.logs())
    assert {file.name: file.read_bytes() for file in folder.glob("*.samples")} == files
    assert await written_tokens(setup, second) < await written_tokens(setup, first)
    assert await keys(setup) == [key]


async def test_samples_on_another_host_lose_their_key_before_a_text_is_forgotten(setup: WorkerSetup) -> None:
    worker = setup.worker()
    job = await calibrated_job(setup, "Person 1")
    assert (await setup.wait_for_status(job, "succeeded", "failed", seconds=120)).status == "succeeded", setup.logs()
    (key,) = await keys(setup)
    worker.kill()
    elsewhere = setup.folder / "elsewhere"
    setup.worker(SCRATCH_DIR=str(elsewhere))
    job = await calibrated_job(setup, "Person 2")
    assert (await setup.wait_for_status(job, "succeeded", "failed", seconds=120)).status == "succeeded", setup.logs()
    (other,) = await keys(setup)
    assert other != key
    assert [id for id, _ in sample_folders(elsewhere)] == [other]
    assert await collector.collect_samples(setup.scene.sessions, setup.scratch) == 1
    assert list(sample_folders(setup.scratch)) == []


async def test_the_key_goes_with_a_cancelled_job_and_with_the_model(setup: WorkerSetup) -> None:
    worker = setup.worker()
    job = await calibrated_job(setup, "Person 1")
    assert (await setup.wait_for_status(job, "succeeded", "failed", seconds=120)).status == "succeeded", setup.logs()
    assert len(await keys(setup)) == 1
    long = await setup.job(epochs=100_000)
    await setup.wait_for_phase(long, "unlearning")
    assert len(await keys(setup)) == 1
    async with setup.scene.sessions.begin() as session:
        await job_actions.cancel(session, setup.scene.organisation, long)
    await setup.wait_for_status(long, "cancelled", seconds=20)
    assert await keys(setup) == []

    job = await calibrated_job(setup, "Person 2")
    assert (await setup.wait_for_status(job, "succeeded", "failed", seconds=120)).status == "succeeded", setup.logs()
    assert len(await keys(setup)) == 1
    worker.kill()
    async with setup.scene.sessions.begin() as session:
        assert await models.remove(session, setup.scene.organisation, "demo")
    assert await keys(setup) == []
    assert await collector.collect_samples(setup.scene.sessions, setup.scratch) >= 1
    assert list(sample_folders(setup.scratch)) == []


async def test_a_worker_that_keeps_nothing_writes_no_samples_down(setup: WorkerSetup) -> None:
    setup.worker(KEEP_MEASUREMENTS="false")
    job = await calibrated_job(setup, "Person 1")
    assert (await setup.wait_for_status(job, "succeeded", "failed", seconds=120)).status == "succeeded", setup.logs()
    assert await keys(setup) == []
    assert list(sample_folders(setup.scratch)) == []


async def test_samples_under_a_key_of_another_service_key_are_left_for_new_ones(setup: WorkerSetup) -> None:
    worker = setup.worker()
    job = await calibrated_job(setup, "Person 1")
    assert (await setup.wait_for_status(job, "succeeded", "failed", seconds=120)).status == "succeeded", setup.logs()
    (key,) = await keys(setup)
    worker.kill()
    async with setup.scene.sessions.begin() as session:
        await session.execute(text("UPDATE sample_keys SET wrapped_key = substring(wrapped_key from 1 for 40)"))
    setup.worker()
    job = await calibrated_job(setup, "Person 2")
    assert (await setup.wait_for_status(job, "succeeded", "failed", seconds=120)).status == "succeeded", setup.logs()
    assert await keys(setup) not in ([], [key])
