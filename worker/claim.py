"""The claim of a job, with the companions that share its run."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncSession

from core.records import files, leases, models, shared_runs
from core.records.tables import JobRow
from core.schema.models import ModelShape
from core.unlearning.step_fitting import Steps, fit_steps
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
        await _fit_training(session, [job, *companions])
        for claimed in (job, *companions):
            await fill_new_settings(session, claimed)
    return Claim(job, companions, since)


async def _fit_training(session: AsyncSession, jobs: Sequence[JobRow]) -> None:
    """Fits epochs and records per step of jobs that share a run to the number of records of all of them.

    All other settings are the leading job's, as it was accepted with, and so is the recipe that is fitted.
    """
    lead = jobs[0]
    model = await models.get(session, lead.organisation, lead.model)
    if lead.requested_training is None or model is None or model.shape is None:
        return
    accepted = lead.recipe_steps or {name: lead.training[name] for name in Steps.model_fields}
    steps = fit_steps(
        Steps.model_validate(accepted),
        epochs=lead.requested_training.get("epochs"),
        records_per_step=lead.requested_training.get("records_per_step"),
        tuned=lead.training.get("tune") == "auto",
        parameters=ModelShape.model_validate(model.shape).parameters,
        forget_records=await files.count_records(session, [job.id for job in jobs], name="forget"),
    )
    for job in jobs:
        job.training = {**lead.training, **steps.model_dump()}
