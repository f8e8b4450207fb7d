"""Redis comes and goes; jobs are in Postgres."""

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
from tests.integration.worker.stage import Stage, Worker, terminate, told, until
from tests.servers import short_folder
from worker.app import make_app, publish_hint


@pytest_asyncio.fixture
async def broker(stage: Stage) -> AsyncIterator[Redis]:
    """A Redis that the test may stop, in place of the run's."""
    with short_folder() as folder:
        redis = Redis(make_data_folder(folder / "data"))
        redis.start()
        stage.settings = stage.settings.model_copy(update={"redis_url": SecretStr(redis.url())})
        yield redis
        stage.end()
        redis.stop()


async def up(worker: Worker) -> None:
    await until(lambda: asyncio.to_thread(lambda: told(worker, "worker starts")))


async def hopeless(stage: Stage) -> str:
    """A job whose file is gone: it fails as soon as a worker looks at it, which shows that one did."""
    return await stage.scene.job(files=[FileUse("file-gone", "forget")])


async def ran(stage: Stage, job: str) -> None:
    row = await stage.until_status(job, "failed")
    assert row.error is not None
    assert (row.error["code"], row.attempts) == ("file_gone", 1)


async def test_a_job_made_while_redis_is_down_runs_when_it_is_back(stage: Stage, broker: Redis) -> None:
    worker = stage.worker()
    await up(worker)
    await asyncio.to_thread(broker.stop)
    job = await hopeless(stage)
    await until(lambda: asyncio.to_thread(lambda: told(worker, "the broker does not take hints; they wait")))
    row = await stage.scene.row(job)
    assert row.status == "queued"
    async with stage.scene.sessions() as session:
        assert await session.scalar(text("SELECT count(*) FROM outbox")) == 1
    await asyncio.to_thread(broker.start)
    await ran(stage, job)
    terminate(worker)
    assert await worker.ended(seconds=15) == 0


async def test_a_redis_that_lost_everything_is_hinted_again(stage: Stage, broker: Redis) -> None:
    job = await hopeless(stage)
    async with stage.scene.sessions.begin() as session:  # published, and then lost with the broker's memory
        await session.execute(text("DELETE FROM outbox"))
    with Client.from_url(redis_py_url(broker.url())) as client:
        client.flushall()
    stage.worker()
    await ran(stage, job)


async def test_ctrl_c_ends_a_worker_though_redis_is_down(stage: Stage, broker: Redis) -> None:
    worker = stage.worker()
    await up(worker)
    await asyncio.to_thread(broker.stop)
    await until(lambda: asyncio.to_thread(lambda: "Error" in worker.log.read_text()))
    worker.process.send_signal(signal.SIGINT)
    assert await worker.ended(seconds=15) == 0


async def test_a_job_does_not_wait_behind_a_busy_worker_while_another_is_free(stage: Stage) -> None:
    # sweeps are far apart, so that none of them helps a hint that the busy worker has fetched
    busy = await stage.job(epochs=100_000)
    async with stage.scene.sessions.begin() as session:  # one hint in all, which the first sweep gives
        await session.execute(text("DELETE FROM outbox"))
    stage.worker(SWEEP_SECONDS="60")
    await stage.until_phase(busy, "loading")
    url = stage.settings.redis_url.get_secret_value()
    with Client.from_url(redis_py_url(url)) as client:
        for _ in range(2):
            await asyncio.to_thread(publish_hint, make_app(url), queue_name(0), {})
        await asyncio.sleep(1.5)  # time enough for the busy worker to fetch what it has no thread for
        assert client.llen(queue_name(0)) == 2
    await up(stage.worker(SWEEP_SECONDS="60"))
    for _ in range(2):
        await ran(stage, await hopeless(stage))
    assert (await stage.scene.row(busy)).status == "running"


async def test_hints_do_not_pile_up_while_every_worker_is_busy(stage: Stage, broker: Redis) -> None:
    stage.worker()
    first = await stage.job(epochs=100_000)
    await stage.until_phase(first, "loading")
    for _ in range(3):
        await stage.job()
    await asyncio.sleep(8 * stage.settings.sweep_seconds)  # nothing to wait for: what must not happen is seen in time
    with Client.from_url(redis_py_url(broker.url())) as client:
        assert client.llen(queue_name(0)) <= 4
