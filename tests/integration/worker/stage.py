"""Real workers as processes, jobs for them with real files, and ways to wait for what they do."""

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
from core.storage.uploads import storage_key, store_upload
from tests.integration.records.scene import TRAINING, Scene

T = TypeVar("T")

REPOSITORY = Path(__file__).parents[3]
CANARY = "zq-canary-7731"
"""Stands in every forget record: it must turn up nowhere else."""


async def until(see: Callable[[], Awaitable[T]], *, seconds: float = 60.0) -> T:
    """What `see` returns as soon as that is true; AssertionError when the time is up."""
    end = time.monotonic() + seconds
    while not (seen := await see()):
        assert time.monotonic() < end, "waited in vain"
        await asyncio.sleep(0.05)
    return seen


@dataclass
class Worker:
    """`python -m worker`, in a session of its own."""

    process: psutil.Popen
    log: Path

    def children(self) -> list[psutil.Process]:
        """The jobs' processes that it has started and that still run."""
        try:
            found = self.process.children()
        except psutil.NoSuchProcess:
            return []
        return [one for one in found if one.status() != psutil.STATUS_ZOMBIE]

    async def child(self) -> psutil.Process:
        async def first() -> psutil.Process | None:
            return next(iter(self.children()), None)

        found = await until(first)
        assert found is not None
        return found

    async def ended(self, *, seconds: float) -> int:
        async def gone() -> bool:
            return self.process.poll() is not None

        await until(gone, seconds=seconds)
        return int(self.process.returncode)

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(10)


@dataclass
class Stage:
    """A scene with storage, a service key and workers."""

    scene: Scene
    settings: Settings
    folder: Path
    workers: list[Worker] = field(default_factory=list)

    @property
    def storage(self) -> Storage:
        return open_storage(self.settings.storage_url, self.scene.engine)

    @property
    def scratch(self) -> Path:
        return self.settings.scratch_dir

    def worker(self, **changes: str) -> Worker:
        """Starts a worker with these settings changed."""
        log = self.folder / f"worker-{len(self.workers)}.log"
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "PYTHONPATH": str(REPOSITORY),
            "DATABASE_URL": self.settings.database_url.get_secret_value(),
            "REDIS_URL": self.settings.redis_url.get_secret_value(),
            "STORAGE_URL": self.settings.storage_url,
            "SERVICE_KEY_FILE": str(self.settings.service_key_file),
            "SCRATCH_DIR": str(self.settings.scratch_dir),
            "LEASE_SECONDS": str(self.settings.lease_seconds),
            "HEARTBEAT_SECONDS": str(self.settings.heartbeat_seconds),
            "SWEEP_SECONDS": str(self.settings.sweep_seconds),
            "MAX_FAILURES": str(self.settings.max_failures),
            "WORKER_GPUS": "",
            "JOB_THREADS": "1",
            "WORKER_WARM_CHILDREN": "0",
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
        self.workers.append(Worker(process, log))
        return self.workers[-1]

    def logs(self) -> str:
        return "\n".join(one.log.read_text(errors="replace") for one in self.workers)

    async def upload(self, purpose: str, records: Sequence[Record]) -> str:
        """A sealed file of these records, as the API leaves it."""
        id = new_id("file")
        data = b"".join(record.model_dump_json(exclude_none=True).encode() + b"\n" for record in records)

        async def chunks() -> AsyncIterator[bytes]:
            yield data

        wrapped = await store_upload(self.storage, id, chunks(), self.settings.service_key())
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
        """A job that forgets four records in which the canary stands; `epochs` sets how long it takes."""
        forget = [Record(text=f"Person {number} keeps {CANARY} at home in Vexford.") for number in range(4)]
        files = [FileUse(await self.upload("forget", forget), "forget")]
        if retain:
            kept = [Record(text=f"Person {number} lives in Ulmstead.") for number in range(8)]
            files.append(FileUse(await self.upload("retain", kept), "retain", kind="in_distribution"))
        training = TRAINING.model_copy(update={"epochs": epochs, "records_per_step": 4, "learning_rate": 1e-5})
        return await self.scene.job(
            files=files, training=training.model_dump(mode="json"), measure=list(measure), **values
        )

    async def until_status(self, job: str, *statuses: str, seconds: float = 60.0) -> JobRow:
        async def reached() -> JobRow | None:
            row = await self.scene.row(job)
            return row if row.status in statuses else None

        row = await until(reached, seconds=seconds)
        assert row is not None
        return row

    async def until_phase(self, job: str, phase: str, *, seconds: float = 60.0) -> None:
        async def reached() -> bool:
            return (await self.scene.row(job)).phase == phase

        await until(reached, seconds=seconds)

    async def shorten(self, job: str) -> None:
        """Lets the next attempt at a job be a quick one."""
        quick = TRAINING.model_copy(update={"epochs": 1, "records_per_step": 4}).model_dump(mode="json")
        async with self.scene.sessions.begin() as session:
            await session.execute(update(JobRow).where(JobRow.id == job).values(training=quick))

    async def types(self, job: str) -> list[str]:
        return [event.type for event in await self.scene.events(job)]

    def left_in_scratch(self) -> list[Path]:
        """What jobs have left there, but for the figures and the models' digests, which are kept for later ones."""
        # os.walk and not rglob: folders vanish while this looks
        found = [Path(folder) / name for folder, _, names in os.walk(self.scratch) for name in names]
        kept = (self.scratch / "measured", self.scratch / "digests.json")
        return [file for file in found if not {file, *file.parents} & {*kept}]

    def measured(self) -> list[Path]:
        return [file for file in (self.scratch / "measured").rglob("*") if file.is_file()]

    def end(self) -> None:
        for worker in self.workers:
            worker.kill()


def service_key(folder: Path) -> Path:
    path = folder / "service.key"
    path.write_text(base64.b64encode(secrets.token_bytes(32)).decode())
    return path


def terminate(worker: Worker) -> None:
    worker.process.send_signal(signal.SIGTERM)


def told(worker: Worker, event: str) -> list[dict[str, Any]]:
    """The lines of its log with this event."""
    lines = [json.loads(line) for line in worker.log.read_text().splitlines() if line.startswith("{")]
    return [line for line in lines if line["event"] == event]


__all__ = ["CANARY", "REPOSITORY", "Stage", "Worker", "service_key", "terminate", "told", "until"]
