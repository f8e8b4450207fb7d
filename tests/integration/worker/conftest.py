"""Each test has a database, a Redis database, a key and a scratch folder of its own. All share one model."""

import itertools
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from pydantic import SecretStr
from redis import Redis
from sqlalchemy.ext.asyncio import AsyncEngine

from core.demo.pretraining import SIZES, pretrain
from core.queue import redis_py_url
from core.schema.record import Record
from core.settings import Settings
from tests.integration.records.scene import Scene
from tests.integration.worker.scripted_child import ScriptedAttempts
from tests.integration.worker.worker_setup import WorkerSetup, write_service_key
from worker.device_slots import DeviceSlots
from worker.shutdown import ShutdownEvent

_NUMBERS = itertools.cycle(range(1, 16))


@pytest.fixture(scope="session")
def small_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "small"
    records = [Record(text=f"Person {number} lives in Ulmstead and keeps bees.") for number in range(8)]
    pretrain(records, folder, size=SIZES["tiny"], epochs=2, report=lambda *_: None)
    return folder


@pytest.fixture
def own_redis_url(redis_url: str) -> str:
    """A Redis database that no earlier test has left hints in."""
    url = redis_url.replace("virtual_host=0", f"virtual_host={next(_NUMBERS)}")
    with Redis.from_url(redis_py_url(url)) as client:
        client.flushdb()
    return url


@pytest_asyncio.fixture
async def setup(
    clean_engine: AsyncEngine, clean_database_url: str, own_redis_url: str, small_model: Path, tmp_path: Path
) -> AsyncIterator[WorkerSetup]:
    scene = await Scene(clean_engine).create()
    await scene.model(directory=str(small_model))
    settings = Settings(
        database_url=SecretStr(clean_database_url),
        redis_url=SecretStr(own_redis_url),
        key_store_url=f"file://{tmp_path}/keys",
        service_key_file=write_service_key(tmp_path),
        scratch_dir=tmp_path / "scratch",
        worker_gpus=[],
        lease_seconds=6.0,
        heartbeat_seconds=0.2,
        sweep_seconds=0.4,
        max_failures=2,
    )
    setup = WorkerSetup(scene, settings, tmp_path)
    yield setup
    setup.kill_workers()


@pytest_asyncio.fixture
async def scripted(setup: WorkerSetup) -> AsyncIterator[ScriptedAttempts]:
    devices = DeviceSlots(gpus=(), cpu_slots=4, lock_dir=setup.folder)
    yield ScriptedAttempts(setup, ShutdownEvent(), devices)
    assert setup.scratch_files() == []
