"""The claim of a job, with the companions that share its run."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncSession

from core.records import files, leases, models, shared_runs
from core.records.tables import JobRow
from core.schema.models import ModelShape
from core.schema.training import TrainingRequest
from core.unlearning.objectives import fill_training
from worker.lease import Sessions
from worker.new_settings import fill_new_settings


@dataclass(frozen=True)
class Claim:
    """A claimed job, the companions that share its run, and the monotonic time from which the leases count."""

    job: JobRow
    companions: Sequence[JobRow]
    since: float


async def claim_job(sessions: Sessions, *, worker: str, gpus: int, lease_seconds: float) -> Claim | None:
    """Claims the next job with so many GPUs; None: there is none to claim."""
    since = time.monotonic()
    async with sessions.begin() as session:
        job = await leases.claim(session, worker=worker, gpus=gpus, lease_seconds=lease_seconds)
        if job is None:
            return None
        companions = await shared_runs.companions(session, job)
        await _fill_training(session, [job, *companions])
        for claimed in (job, *companions):
            await fill_new_settings(session, claimed)
    return Claim(job, companions, since)


async def _fill_training(session: AsyncSession, jobs: Sequence[JobRow]) -> None:
    """Fills the gaps in the requested training of jobs that share a run, by the number of records of all of them."""
    lead = jobs[0]
    model = await models.get(session, lead.organisation, lead.model)
    if lead.requested_training is None or model is None or model.shape is None:
        return
    shape = ModelShape.model_validate(model.shape)
    training = fill_training(
        TrainingRequest.model_validate(lead.requested_training),
        lead.method,
        parameters=shape.parameters,
        forget_records=await files.count_records(session, [job.id for job in jobs], name="forget"),
        gpus=lead.gpus,
    )
    training.max_length = shape.within_context(training.max_length)
    for job in jobs:
        job.training = training.model_dump(mode="json")
