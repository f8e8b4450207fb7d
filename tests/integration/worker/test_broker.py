"""Redis stops and starts; the jobs are in Postgres."""

import asyncio
import signal
from collections.abc import AsyncIterator

import pytest_asyncio
from pydantic import SecretStr
from redis import Redis as Client
from sqlalchemy import text

from core.embedded.folder import make_data_folder
from core.embedded.redis import Redis
from core.queue import queue_name, redis_py_url
from core.records.jobs import FileUse
from tests.integration.worker.worker_setup import WorkerProcess, WorkerSetup, log_lines, terminate, wait_for
from tests.servers import short_folder
from worker.app import make_app, publish_hint


@pytest_asyncio.fixture
async def broker(setup: WorkerSetup) -> AsyncIterator[Redis]:
    """A Redis that the test may stop, in place of the run's."""
    with short_folder() as folder:
        redis = Redis(make_data_folder(folder / "data"))
        redis.start()
        setup.settings = setup.settings.model_copy(update={"redis_url": SecretStr(redis.url())})
        yield redis
        setup.kill_workers()
        redis.stop()


async def wait_until_started(worker: WorkerProcess) -> None:
    await wait_for(lambda: asyncio.to_thread(lambda: log_lines(worker, "worker starts")))


async def job_without_file(setup: WorkerSetup) -> str:
    """Makes a job whose file is gone. It fails as soon as a worker claims it, which shows that a worker did."""
    return await setup.scene.job(files=[FileUse("file-gone", "forget")])


async def wait_until_run(setup: WorkerSetup, job: str) -> None:
    row = await setup.wait_for_status(job, "failed")
    assert row.error is not None
    assert (row.error["code"], row.attempts) == ("file_gone", 1)


async def test_a_job_made_while_redis_is_down_runs_when_it_is_back(setup: WorkerSetup, broker: Redis) -> None:
    worker = setup.worker()
    await wait_until_started(worker)
    await asyncio.to_thread(broker.stop)
    job = await job_without_file(setup)
    await wait_for(lambda: asyncio.to_thread(lambda: log_lines(worker, "the broker does not take hints; they wait")))
    row = await setup.scene.row(job)
    assert row.status == "queued"
    async with setup.scene.sessions() as session:
        assert await session.scalar(text("SELECT count(*) FROM outbox")) == 1
    await asyncio.to_thread(broker.start)
    await wait_until_run(setup, job)
    terminate(worker)
    assert await worker.exit_code(seconds=15) == 0


async def test_a_redis_that_lost_everything_gets_new_hints(setup: WorkerSetup, broker: Redis) -> None:
    job = await job_without_file(setup)
    async with setup.scene.sessions.begin() as session:  # published, and then lost with the broker's memory
        await session.execute(text("DELETE FROM outbox"))
    with Client.from_url(redis_py_url(broker.url())) as client:
        client.flushall()
    setup.worker()
    await wait_until_run(setup, job)


async def test_ctrl_c_ends_a_worker_though_redis_is_down(setup: WorkerSetup, broker: Redis) -> None:
    worker = setup.worker()
    await wait_until_started(worker)
    await asyncio.to_thread(broker.stop)
    await wait_for(lambda: asyncio.to_thread(lambda: "Error" in worker.log.read_text()))
    worker.process.send_signal(signal.SIGINT)
    assert await worker.exit_code(seconds=15) == 0


async def test_a_job_does_not_wait_behind_a_busy_worker_while_another_worker_is_free(setup: WorkerSetup) -> None:
    # sweeps are far apart, so that no sweep repeats a hint that the busy worker has fetched
    busy = await setup.job(epochs=100_000)
    async with setup.scene.sessions.begin() as session:  # leaves one hint in all, which the first sweep publishes
        await session.execute(text("DELETE FROM outbox"))
    setup.worker(SWEEP_SECONDS="60")
    await setup.wait_for_phase(busy, "loading")
    url = setup.settings.redis_url.get_secret_value()
    with Client.from_url(redis_py_url(url)) as client:
        for _ in range(2):
            await asyncio.to_thread(publish_hint, make_app(url), queue_name(0), {})
        await asyncio.sleep(1.5)  # time enough for the busy worker to fetch hints for which it has no thread
        assert client.llen(queue_name(0)) == 2
    await wait_until_started(setup.worker(SWEEP_SECONDS="60"))
    for _ in range(2):
        await wait_until_run(setup, await job_without_file(setup))
    assert (await setup.scene.row(busy)).status == "running"


async def test_hints_do_not_pile_up_while_every_worker_is_busy(setup: WorkerSetup, broker: Redis) -> None:
    setup.worker()
    first = await setup.job(epochs=100_000)
    await setup.wait_for_phase(first, "loading")
    for _ in range(3):
        await setup.job()
    await asyncio.sleep(8 * setup.settings.sweep_seconds)  # no event to wait for: an absence shows in time alone
    with Client.from_url(redis_py_url(broker.url())) as client:
        assert client.llen(queue_name(0)) <= 4
