"""Jobs in every state, made with the functions that API and worker use."""

import hashlib
import math
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import date, timedelta

from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from core.records import completion, files, jobs, leases, models, progress
from core.records.tables import FileRow, JobRow, ModelRow
from core.schema.cost import JobCost
from core.schema.default_policy import DEFAULT_POLICY
from core.schema.evaluation import Measurements
from core.schema.event_types import EventType
from core.schema.ids import new_id
from core.schema.manifest import FileEntry, digest
from core.schema.models import ReleasePolicy
from core.schema.policies import Judgement
from core.schema.training import Training
from core.storage import Storage
from tests.integration.console.figures import measurements

STEPS = 200
BUSY_ELSEWHERE = 8
"""GPUs that no job of these tests is claimed with: such a job stays in the queue."""
TRAINING = Training(
    learning_rate=4e-4,
    scheduler="linear",
    warmup=0.0,
    optimizer="adamw",
    weight_decay=0.0,
    epochs=10,
    records_per_step=10,
    max_length=1024,
    chat="raw",
    precision="auto",
    seed=0,
    gradient_clip=1.0,
    micro_batch_tokens=16384,
)
SHAPE = {
    "architecture": "LlamaForCausalLM",
    "parameters": 3_712_256,
    "bytes": 14_849_024,
    "hidden_size": 192,
    "layers": 4,
    "heads": 6,
    "vocabulary": 4096,
    "context": 512,
    "dtype": "float32",
}
COST = JobCost(
    seconds={"loading": 4.0, "unlearning": 110.0, "measuring_after": 26.0},
    tokens=90_000,
    peak_host_bytes=3 << 29,
    flops={"unlearning": 3.5e12, "measuring_after": 5e11},
    tokens_per_second={"unlearning": 818.0, "measuring": 2_300.0},
    retraining_flops=8e15,
    retraining_share=0.0005,
)
CONFIG = b'{"architectures": ["LlamaForCausalLM"]}'


@dataclass
class Story:
    """One organisation's models, files and jobs. Every method commits."""

    sessions: async_sessionmaker[AsyncSession]
    storage: Storage
    organisation: str
    key: str

    async def model(self, name: str, release: ReleasePolicy = "always") -> None:
        row = ModelRow(
            organisation=self.organisation,
            id=name,
            source=name,
            directory=name,
            digest=hashlib.sha256(name.encode()).hexdigest(),
            dtype="auto",
            status="ready",
            shape=SHAPE,
            defaults={},
            release=release,
        )
        async with self.sessions.begin() as session:
            await models.add(session, row)

    async def file(self, purpose: str, records: int = 200) -> str:
        id = new_id("file")
        row = FileRow(
            id=id,
            organisation=self.organisation,
            purpose=purpose,
            filename=f"{purpose}.jsonl",
            format="jsonl",
            size=records * 171,
            sha256=hashlib.sha256(id.encode()).hexdigest(),
            records=records,
            storage_key=f"files/{id}",
            wrapped_key=b"",
        )
        async with self.sessions.begin() as session:
            await files.add(session, row, lifetime=timedelta(days=90))
        return id

    async def queued(
        self,
        model: str,
        *,
        reference: str | None = None,
        gpus: int = 0,
        kind: str = "unlearn",
        due: date | None = None,
        webhook: str | None = None,
    ) -> str:
        """Creates a job as the API would create it, and returns its id."""
        sets = [
            {"name": name, "file": None, "kind": None, "weight": None, "records": 200, "sha256": None}
            for name in ("forget", "retain", "unseen")
        ]
        for entry in sets[1:]:
            entry["file"] = await self.file(str(entry["name"]))
            entry["sha256"] = hashlib.sha256(str(entry["file"]).encode()).hexdigest()
        sets[1] |= {"kind": "in_distribution", "weight": 1.0}
        job = JobRow(
            id=new_id("job"),
            organisation=self.organisation,
            submitter=self.key,
            kind=kind,
            model=model,
            start="head",
            method="calibrated",
            parameters={"forget_weight": 1.0, "retain_term": "kl", "retain_weight": 1.0, "unseen_weight": 1.0},
            training=TRAINING.model_dump(mode="json"),
            data=sets,
            warnings=[],
            external_reference=reference,
            due=due,
            webhook_url=webhook,
            webhook_secret=None if webhook is None else b"sealed",
            metadata_={"team": "privacy"},
            gpus=gpus,
            policy=DEFAULT_POLICY.model_dump(mode="json"),
        )
        async with self.sessions.begin() as session:
            await jobs.create(session, job, [])
        return job.id

    async def running(
        self, model: str, *, step: int = 0, reference: str | None = None, due: date | None = None
    ) -> tuple[str, int]:
        """Brings a job into training and returns `(id, fence)`; no other job may be queued."""
        job = await self.queued(model, reference=reference, due=due)
        async with self.sessions.begin() as session:
            row = await leases.claim(session, worker="console-tests", gpus=0, lease_seconds=600)
            assert row is not None
            assert row.id == job
            fence = row.fence
        for phase in ("loading", "measuring_before"):
            async with self.sessions.begin() as session:
                await progress.set_phase(session, job, fence, phase)
        async with self.sessions.begin() as session:
            await progress.add_measurements(session, job, fence, "before", measurements("before"))
            await progress.set_phase(session, job, fence, "unlearning")
        if step:
            await self.train(job, fence, 1, step)
        return job, fence

    async def train(self, job: str, fence: int, first: int, last: int) -> None:
        """Writes the curves of these steps."""
        points = [(step, name, value) for step in range(first, last + 1) for name, value in _curves(step).items()]
        async with self.sessions.begin() as session:
            await progress.set_steps(
                session, job, fence, step=last, steps=STEPS, eta_seconds=(STEPS - last) * 0.3, points=points
            )

    async def finished(
        self,
        model: str,
        *,
        reference: str | None = None,
        judgement: Judgement | None = None,
        after: Measurements | None = None,
        retrained: Measurements | None = None,
    ) -> str:
        """Brings a job to success, with the files of its checkpoint in the storage."""
        job, fence = await self.running(model, step=STEPS, reference=reference)
        prefix = f"checkpoints/{job}/{fence}"
        weights = bytes(range(256)) * 4096
        stored = {"config.json": CONFIG, "model.safetensors": weights, "tokenizer.json": b"{}"}
        entries = []
        for path, body in stored.items():
            await self.storage.write(f"{prefix}/{path}", once(body))
            entries.append(FileEntry(path=path, bytes=len(body), sha256=hashlib.sha256(body).hexdigest()))
        delivered = completion.UploadedCheckpoint(prefix=prefix, files=entries, digest=digest(entries), step=STEPS)
        async with self.sessions.begin() as session:
            message = (
                "fewer records to keep were used in training (100) than records to forget (200): they are used again,"
                " reshuffled"
            )
            await progress.add_warning(session, job, fence, "retain_smaller_than_forget", message)
            await progress.set_phase(session, job, fence, "measuring_after")
            if retrained is not None:
                await progress.add_measurements(session, job, fence, "retrained", retrained)
            await progress.add_measurements(session, job, fence, "after", after or measurements("after"))
            await progress.add_event(session, job, fence, EventType.COST, COST.model_dump(mode="json"))
            await completion.finish(session, job, fence, outcome="unlearned", checkpoint=delivered, judgement=judgement)
        return job

    async def dry_run(self, model: str) -> str:
        """Brings a dry run to its end: a job that measured the model and changed nothing."""
        job = await self.queued(model, kind="preview")
        async with self.sessions.begin() as session:
            row = await leases.claim(session, worker="console-tests", gpus=0, lease_seconds=600)
            assert row is not None
            await progress.add_measurements(session, job, row.fence, "before", measurements("before"))
            await progress.add_warning(session, job, row.fence, "preview", "membership AUC 1 (1 to 1)")
            await completion.finish_without_checkpoint(session, job, row.fence, outcome="preview")
        return job

    async def failed(self, model: str, *, due: date | None = None) -> str:
        job, fence = await self.running(model, step=3, due=due)
        error = {"code": "loss_is_nan", "message": "The loss became NaN at step 4: lower the learning rate"}
        async with self.sessions.begin() as session:
            row = await leases.lock_job(session, job, fence)
            blamed = error | {"blame": "user", "retryable": False}
            await leases.fail_or_retry(session, row, blamed, max_failures=1)
        return job


def _curves(step: int) -> dict[str, float]:
    left = math.exp(-step / 45)
    return {
        "loss": 0.21 + 4.3 * left + 0.05 * math.sin(step * 1.7),
        "forget_loss": 0.15 + 4.1 * left + 0.04 * math.sin(step * 2.3),
        "retain_loss": 0.03 + 0.3 * (step / STEPS) * left + 0.004 * math.sin(step),
        "unseen_loss": 0.03 + 0.1 * left,
        "learning_rate": 4e-4 * (1 - step / STEPS),
        "tokens_per_second": 5200 + 90 * math.sin(step / 3),
    }


async def once(body: bytes) -> AsyncIterator[bytes]:
    yield body
