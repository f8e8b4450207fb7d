"""Real workers as processes, jobs for them with real files, and ways to wait for events."""

import asyncio
import base64
import json
import os
import secrets
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import psutil
from sqlalchemy import update

from core.records.jobs import FileUse
from core.records.tables import FileRow, JobRow
from core.schema.ids import new_id
from core.schema.record import Record
from core.settings import Settings
from core.storage import Storage, open_storage
from core.storage.file_keys import FileKeys
from core.storage.key_store import open_key_store
from core.storage.uploads import storage_key, store_upload
from tests.integration.records.scene import TRAINING, Scene

T = TypeVar("T")

REPOSITORY = Path(__file__).parents[3]
CANARY = "zq-canary-7731"
"""A word of every forget record, which must appear nowhere else."""


async def wait_for(condition: Callable[[], Awaitable[T]], *, seconds: float = 60.0) -> T:
    """Returns the value of `condition` as soon as that is true. AssertionError when the time is up."""
    end = time.monotonic() + seconds
    while not (value := await condition()):
        assert time.monotonic() < end, "waited in vain"
        await asyncio.sleep(0.05)
    return value


@dataclass
class WorkerProcess:
    """`python -m worker`, in a session of its own."""

    process: psutil.Popen
    log: Path

    def children(self) -> list[psutil.Process]:
        """Returns the child processes of the worker that still run."""
        try:
            children = self.process.children()
        except psutil.NoSuchProcess:
            return []
        return [child for child in children if child.status() != psutil.STATUS_ZOMBIE]

    async def child(self) -> psutil.Process:
        """Waits for the worker's first child and returns it."""

        async def first_child() -> psutil.Process | None:
            return next(iter(self.children()), None)

        child = await wait_for(first_child)
        assert child is not None
        return child

    async def exit_code(self, *, seconds: float) -> int:
        """Waits for the worker to end and returns its exit code."""

        async def has_ended() -> bool:
            return self.process.poll() is not None

        await wait_for(has_ended, seconds=seconds)
        return int(self.process.returncode)

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(10)


@dataclass
class WorkerSetup:
    """A database with storage, a service key, a scratch folder and workers."""

    scene: Scene
    settings: Settings
    folder: Path
    workers: list[WorkerProcess] = field(default_factory=list)

    @property
    def storage(self) -> Storage:
        return open_storage(self.settings.storage_url, self.scene.engine)

    @property
    def keys(self) -> FileKeys:
        key_store = open_key_store(self.settings.key_store_url, storage_url=self.settings.storage_url)
        return FileKeys(self.settings.service_key(), key_store)

    @property
    def scratch(self) -> Path:
        return self.settings.scratch_dir

    def worker(self, **changes: str) -> WorkerProcess:
        """Starts a worker with these settings changed."""
        log = self.folder / f"worker-{len(self.workers)}.log"
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "PYTHONPATH": str(REPOSITORY),
            "DATABASE_URL": self.settings.database_url.get_secret_value(),
            "REDIS_URL": self.settings.redis_url.get_secret_value(),
            "STORAGE_URL": self.settings.storage_url,
            "KEY_STORE_URL": str(self.settings.key_store_url),
            "SERVICE_KEY_FILE": str(self.settings.service_key_file),
            "SCRATCH_DIR": str(self.settings.scratch_dir),
            "LEASE_SECONDS": str(self.settings.lease_seconds),
            "HEARTBEAT_SECONDS": str(self.settings.heartbeat_seconds),
            "SWEEP_SECONDS": str(self.settings.sweep_seconds),
            "MAX_FAILURES": str(self.settings.max_failures),
            "WORKER_GPUS": "",
            "JOB_THREADS": "1",
            "WORKER_WARM_CHILDREN": "0",
            "WORKER_THROUGHPUT": "0",
            **changes,
        }
        with log.open("wb") as out:
            process = psutil.Popen(
                [sys.executable, "-m", "worker"],
                env=environment,
                cwd=self.folder,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )
        self.workers.append(WorkerProcess(process, log))
        return self.workers[-1]

    def logs(self) -> str:
        """Returns the logs of all workers."""
        return "\n".join(worker.log.read_text(errors="replace") for worker in self.workers)

    async def upload(self, purpose: str, records: Sequence[Record]) -> str:
        """Stores a sealed file of these records, as the API does; returns its id."""
        id = new_id("file")
        data = b"".join(record.model_dump_json(exclude_none=True).encode() + b"\n" for record in records)

        async def chunks() -> AsyncIterator[bytes]:
            yield data

        wrapped = await store_upload(self.storage, id, chunks(), self.keys)
        row = FileRow(
            id=id,
            organisation=self.scene.organisation,
            purpose=purpose,
            filename=f"{purpose}.jsonl",
            format="jsonl",
            size=len(data),
            sha256="0" * 64,
            records=len(records),
            storage_key=storage_key(id),
            wrapped_key=wrapped,
        )
        async with self.scene.sessions.begin() as session:
            session.add(row)
        return id

    async def job(
        self, *, epochs: int = 1, retain: bool = False, measure: Sequence[str] = ("likelihood",), **values: Any
    ) -> str:
        """Makes a job that forgets four records with the canary; `epochs` sets how long it takes. Returns its id."""
        forget = [Record(text=f"Person {number} keeps {CANARY} at home in Vexford.") for number in range(4)]
        files = [FileUse(await self.upload("forget", forget), "forget")]
        if retain:
            retained = [Record(text=f"Person {number} lives in Ulmstead.") for number in range(8)]
            files.append(FileUse(await self.upload("retain", retained), "retain", kind="in_distribution"))
        training = TRAINING.model_copy(update={"epochs": epochs, "records_per_step": 4, "learning_rate": 1e-5})
        return await self.scene.job(
            files=files, training=training.model_dump(mode="json"), measure=list(measure), **values
        )

    async def wait_for_status(self, job: str, *statuses: str, seconds: float = 60.0) -> JobRow:
        async def reached() -> JobRow | None:
            row = await self.scene.row(job)
            return row if row.status in statuses else None

        row = await wait_for(reached, seconds=seconds)
        assert row is not None
        return row

    async def wait_for_phase(self, job: str, phase: str, *, seconds: float = 60.0) -> None:
        async def reached() -> bool:
            return (await self.scene.row(job)).phase == phase

        await wait_for(reached, seconds=seconds)

    async def shorten_job(self, job: str) -> None:
        """Lets the next attempt at a job be a short one."""
        quick = TRAINING.model_copy(update={"epochs": 1, "records_per_step": 4}).model_dump(mode="json")
        async with self.scene.sessions.begin() as session:
            await session.execute(update(JobRow).where(JobRow.id == job).values(training=quick))

    async def event_types(self, job: str) -> list[str]:
        return [event.type for event in await self.scene.events(job)]

    async def wait_for_empty_scratch(self) -> None:
        """Waits for the removal of the jobs' files, which comes after the transaction that ends a job."""

        async def cleared() -> bool:
            return self.scratch_files() == []

        await wait_for(cleared)

    def scratch_files(self) -> list[Path]:
        """Returns the jobs' files in the scratch folder, but for what later jobs use."""
        # os.walk and not rglob: folders vanish meanwhile
        files = [Path(folder) / name for folder, _, names in os.walk(self.scratch) for name in names]
        kept = {self.scratch / "measured", self.scratch / "rehearsed", self.scratch / "digests.json"}
        return [file for file in files if not {file, *file.parents} & kept]

    def measurement_files(self) -> list[Path]:
        return [file for file in (self.scratch / "measured").rglob("*") if file.is_file()]

    def kill_workers(self) -> None:
        for worker in self.workers:
            worker.kill()


def write_service_key(folder: Path) -> Path:
    path = folder / "service.key"
    path.write_text(base64.b64encode(secrets.token_bytes(32)).decode())
    return path


def terminate(worker: WorkerProcess) -> None:
    worker.process.send_signal(signal.SIGTERM)


def log_lines(worker: WorkerProcess, event: str) -> list[dict[str, Any]]:
    """Returns the lines of the worker's log with this event."""
    lines = [json.loads(line) for line in worker.log.read_text().splitlines() if line.startswith("{")]
    return [line for line in lines if line["event"] == event]
