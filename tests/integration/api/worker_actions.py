"""Changes to a job's rows, made by the functions that workers use."""

import hashlib
from collections.abc import AsyncIterator

from core.records import completion, leases, progress
from core.schema.evaluation import Figure, Measurements
from core.schema.event_types import EventType
from core.schema.events import CostReported
from core.schema.manifest import FileEntry, digest
from core.schema.verdict_parts import Verdict
from tests.integration.api.service import Service
from tests.integration.records.scene import judgement


async def claim_job(service: Service, job: str) -> int:
    """Claims the job, after older jobs of other tests, and returns its fence."""
    while True:
        async with service.sessions.begin() as session:
            row = await leases.claim(session, worker="test", gpus=0, lease_seconds=600)
            assert row is not None, "there is no such job to claim"
            if row.id == job:
                return row.fence


async def record_step(service: Service, job: str, fence: int, number: int, *, steps: int = 10) -> None:
    async with service.sessions.begin() as session:
        points = [(number, "loss", 1.0 / number), (number, "learning_rate", 0.1)]
        await progress.set_steps(session, job, fence, step=number, steps=steps, eta_seconds=2.0, points=points)


async def record_phase(service: Service, job: str, fence: int, name: str) -> None:
    async with service.sessions.begin() as session:
        await progress.set_phase(session, job, fence, name)


async def record_cost(service: Service, job: str, fence: int, cost: CostReported) -> None:
    """Stores the cost of the job, as a worker does."""
    async with service.sessions.begin() as session:
        await progress.add_event(session, job, fence, EventType.COST, cost.model_dump(mode="json", exclude={"kind"}))


async def record_measurements(service: Service, job: str, fence: int, perplexity: float) -> Measurements:
    """Stores measurements of the model before, as a job reports them."""
    figure = Figure(value=perplexity, low=1.0, high=99.0, records=3)
    measurements = Measurements(sets={"forget": {"perplexity": figure}}, seconds=1.0, model_digest="0" * 64)
    async with service.sessions.begin() as session:
        await progress.add_measurements(session, job, fence, "before", measurements)
    return measurements


async def finish_job(
    service: Service, job: str, fence: int, files: dict[str, bytes], *, verdict: Verdict = "passed"
) -> str:
    """Stores the files as the job's checkpoint and finishes it with this verdict; returns the checkpoint's id."""
    prefix = f"checkpoints/{job}/{fence}"

    async def single_chunk(body: bytes) -> AsyncIterator[bytes]:
        yield body

    entries = []
    for path, body in sorted(files.items()):
        await service.context.storage.write(f"{prefix}/{path}", single_chunk(body))
        entries.append(FileEntry(path=path, bytes=len(body), sha256=hashlib.sha256(body).hexdigest()))
    delivered = completion.UploadedCheckpoint(prefix=prefix, files=entries, digest=digest(entries), step=10)
    async with service.sessions.begin() as session:
        return await completion.finish(
            session, job, fence, outcome="unlearned", checkpoint=delivered, judgement=judgement(verdict)
        )
