"""The end of a job: one transaction; through `finish` alone a checkpoint becomes visible."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from sqlalchemy import delete, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from core.records import audit, events, job_status
from core.records.leases import lock_job
from core.records.release import lock_model, make_head
from core.records.tables import CheckpointFile, CheckpointRow, CurveRow, JobRow
from core.schema.ids import new_id
from core.schema.jobs import TERMINAL, Outcome
from core.schema.manifest import FileEntry
from core.schema.policies import Judgement, Verdict


def checkpoint_prefix(job: str, fence: int) -> str:
    """Where in the storage the checkpoint of one attempt lies: no two attempts ever write to one place."""
    return f"checkpoints/{job}/{fence}"


@dataclass(frozen=True)
class UploadedCheckpoint:
    """A checkpoint whose bytes lie complete under `prefix`."""

    prefix: str
    files: Sequence[FileEntry]
    digest: str
    step: int


async def finish(
    session: AsyncSession,
    job: str,
    fence: int,
    *,
    outcome: Outcome,
    checkpoint: UploadedCheckpoint,
    judgement: Judgement | None = None,
) -> str:
    """Succeeds the job and makes its checkpoint visible, released or not. Returns the checkpoint's id.

    Released, and so perhaps the model's head, is what passed its policy, and what comes of a model whose checkpoints
    need no release, of which a failed one does not become the head; all else waits for a person. A job that misses its
    policy has succeeded all the same. Without a judgement nobody has judged.
    A wish to cancel that has not been heard by now comes too late: the work is done.
    """
    row = await lock_job(session, job, fence)
    model = await lock_model(session, row)
    verdict: Verdict = judgement.verdict if judgement else "not_judged"
    released = verdict == "passed" or (model is not None and model.release == "always")
    made = CheckpointRow(
        id=new_id("ckpt"),
        organisation=row.organisation,
        job=job,
        model=row.model,
        method=row.method,
        step=checkpoint.step,
        size=sum(file.bytes for file in checkpoint.files),
        digest=checkpoint.digest,
        prefix=checkpoint.prefix,
        verdict=verdict,
        released=released,
        released_at=func.clock_timestamp() if released else None,
    )
    session.add(made)
    await session.flush()
    await session.refresh(made)
    rows = [
        CheckpointFile(checkpoint=made.id, path=file.path, size=file.bytes, sha256=file.sha256)
        for file in checkpoint.files
    ]
    session.add_all(rows)
    # an earlier attempt may have been longer: its points beyond this one's last step are nobody's
    await session.execute(delete(CurveRow).where(CurveRow.job == job, CurveRow.step > checkpoint.step))
    row.verdict = verdict
    if judgement is not None:
        row.judgement = judgement.model_dump(mode="json")
        judged = {"verdict": verdict, "scope": judgement.scope, "reason": judgement.reason, "policy": judgement.policy}
        await events.append(session, row, "judged", judged)
    if released:
        # without a person's word no later job starts from what failed, even where its bytes need no release
        head = verdict != "failed" and await make_head(session, row, model, made)
        await events.append(session, row, "released", {"checkpoint": made.id, "head": head})
    # nothing follows it but a release: whoever listens goes when it comes
    ended = {"checkpoint": made.id, "digest": made.digest, "verdict": verdict, "released": released}
    await job_status.succeed(session, row, outcome=outcome, checkpoint=made.id, data=ended)
    entry: audit.Details = {"job": job, "digest": made.digest, "verdict": verdict, "released": released}
    await audit.append(session, row.organisation, None, "checkpoint.made", made.id, entry)
    return made.id


async def finish_without_checkpoint(session: AsyncSession, job: str, fence: int, *, outcome: Outcome | None) -> None:
    """Succeeds a job that makes no checkpoint: what it measured is written down already."""
    row = await lock_job(session, job, fence)
    await job_status.succeed(session, row, outcome=outcome, checkpoint=None, data={"outcome": outcome})


async def was_finished_without_checkpoint(session: AsyncSession, job: str, fence: int) -> bool:
    """After a lost answer to COMMIT: whether it was the holder of this fence who concluded the job."""
    query = select(JobRow.id).where(JobRow.id == job, JobRow.status == "succeeded", JobRow.fence == fence + 1)
    return await session.scalar(query) is not None


async def find_checkpoint(session: AsyncSession, job: str, *, prefix: str) -> str | None:
    """After a lost answer to COMMIT: the checkpoint that this worker's finish made, or None where it did not happen."""
    query = select(CheckpointRow.id).where(CheckpointRow.job == job, CheckpointRow.prefix == prefix)
    return await session.scalar(query)


async def ended_jobs(session: AsyncSession, jobs: Collection[str]) -> set[str]:
    """Those of the jobs that have ended; one that is not known here is left alone, as in `dead`."""
    query = select(JobRow.id).where(JobRow.id.in_(jobs), JobRow.status.in_(TERMINAL))
    return set((await session.scalars(query)).all())


async def ended_attempts(session: AsyncSession, attempts: Collection[tuple[str, int]]) -> set[tuple[str, int]]:
    """Returns those of the attempts `(job, fence)` that are over, whether they delivered a checkpoint or not.

    An attempt at an unknown job is left out: storage and scratch may be shared with another database.
    """
    return {attempt for attempt, _ in await _ended(session, attempts)}


async def undelivered_attempts(session: AsyncSession, attempts: Collection[tuple[str, int]]) -> set[tuple[str, int]]:
    """Returns those of the attempts `(job, fence)` that are over and delivered no checkpoint, as `ended` knows them."""
    return {attempt for attempt, delivered in await _ended(session, attempts) if not delivered}


async def _ended(session: AsyncSession, attempts: Collection[tuple[str, int]]) -> list[tuple[tuple[str, int], bool]]:
    """The attempts that are over, each with whether it delivered a checkpoint."""
    # one statement, one snapshot: a finish between two of them would look like a job that is over without a checkpoint
    query = (
        select(JobRow.id, JobRow.status, JobRow.fence, func.array_remove(func.array_agg(CheckpointRow.prefix), None))
        .outerjoin(CheckpointRow, CheckpointRow.job == JobRow.id)
        .where(JobRow.id.in_({job for job, _ in attempts}))
        .group_by(JobRow.id)
    )
    known = {id: (status, fence, prefixes) for id, status, fence, prefixes in (await session.execute(query)).all()}
    ended = []
    for job, fence in attempts:
        if job not in known:
            continue
        status, current, delivered = known[job]
        if not (status == "running" and fence == current):
            ended.append(((job, fence), checkpoint_prefix(job, fence) in delivered))
    return ended
