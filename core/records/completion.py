"""The successful end of a job, in one transaction. A checkpoint becomes visible through `finish` alone."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import delete, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from core.records import audit, events, job_status, statements
from core.records.leases import lock_job, lock_jobs
from core.records.release import lock_model, make_head
from core.records.tables import CheckpointFile, CheckpointRow, CurveRow, JobRow
from core.schema.event_types import EventType
from core.schema.ids import new_id
from core.schema.jobs import TERMINAL, Outcome
from core.schema.manifest import FileEntry
from core.schema.policies import Judgement
from core.schema.verdict_parts import Verdict


def checkpoint_prefix(job: str, fence: int) -> str:
    """The storage prefix of one attempt's checkpoint: no two attempts ever write under the same one."""
    return f"checkpoints/{job}/{fence}"


@dataclass(frozen=True)
class UploadedCheckpoint:
    """A checkpoint whose bytes are complete in the storage under `prefix`, and that no row names yet."""

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
    """Ends the job as succeeded and makes its checkpoint visible, released or not. Returns the checkpoint's id.

    Released at once are a checkpoint that passed its policy, and every checkpoint of a model that needs no release.
    Any other waits for a person. A released checkpoint may become the model's head, unless its verdict is `failed`.
    A job that misses its policy has succeeded all the same. Without a judgement the verdict is `not_judged`.
    A request to cancel that the worker has not seen by now comes too late: the work is done.
    """
    judgements = {} if judgement is None else {job: judgement}
    (id,) = await finish_all(session, {job: fence}, outcome=outcome, checkpoint=checkpoint, judgements=judgements)
    return id


async def finish_all(
    session: AsyncSession,
    fences: Mapping[str, int],
    *,
    outcome: Outcome,
    checkpoint: UploadedCheckpoint,
    judgements: Mapping[str, Judgement],
) -> list[str]:
    """Ends all jobs of a run as `finish` ends one: each has a checkpoint and a verdict of its own, with the same files.

    The files are released at once only if every job passed its policy, and become the head, as the leading job's
    checkpoint, only if no job failed: else some text would still be in the head. `fences` are those of the jobs, the
    leading one first. Returns the checkpoints' ids.
    """
    await lock_jobs(session, fences)
    rows = [await lock_job(session, job, fence) for job, fence in fences.items()]
    model = await lock_model(session, rows[0])
    verdicts: dict[str, Verdict] = {row.id: _verdict(judgements.get(row.id)) for row in rows}
    released = set(verdicts.values()) == {"passed"} or (model is not None and model.release == "always")
    made = []
    for row in rows:
        checkpoint_row = await _make_checkpoint(session, row, checkpoint, verdicts[row.id], released=released)
        made.append(checkpoint_row.id)
        parts = await _record_verdict(session, row, judgements.get(row.id))
        head = False
        if released:
            # a failed checkpoint becomes a head only by a person's release, even where its bytes need none
            eligible = row is rows[0] and "failed" not in verdicts.values()
            head = eligible and await make_head(session, row, model, checkpoint_row)
            await events.append(session, row, EventType.RELEASED, {"checkpoint": checkpoint_row.id, "head": head})
        elif verdicts[row.id] == "passed":
            await _warn_held_back(session, row, [job for job, verdict in verdicts.items() if verdict != "passed"])
        # the last event but for a later release: listeners stop when it comes
        succeeded = {
            "checkpoint": checkpoint_row.id,
            "digest": checkpoint.digest,
            "verdict": verdicts[row.id],
            "released": released,
        }
        await job_status.succeed(session, row, outcome=outcome, checkpoint=checkpoint_row.id, data=succeeded)
        entry: audit.Details = {
            **{"job": row.id, "digest": checkpoint.digest, "verdict": verdicts[row.id]},
            **parts,
            **{"released": released, "head": head},
        }
        await audit.append(session, row.organisation, None, "checkpoint.made", checkpoint_row.id, entry)
        await statements.request(session, row.id)
    return made


def _verdict(judgement: Judgement | None) -> Verdict:
    return judgement.verdict if judgement else "not_judged"


async def _make_checkpoint(
    session: AsyncSession, row: JobRow, checkpoint: UploadedCheckpoint, verdict: Verdict, *, released: bool
) -> CheckpointRow:
    """Writes the job's checkpoint with its files."""
    checkpoint_row = CheckpointRow(
        id=new_id("ckpt"),
        organisation=row.organisation,
        job=row.id,
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
    session.add(checkpoint_row)
    await session.flush()
    await session.refresh(checkpoint_row)
    file_rows = [
        CheckpointFile(checkpoint=checkpoint_row.id, path=file.path, size=file.bytes, sha256=file.sha256)
        for file in checkpoint.files
    ]
    session.add_all(file_rows)
    # an earlier attempt may have taken more steps: curve points beyond this attempt's last step go
    await session.execute(delete(CurveRow).where(CurveRow.job == row.id, CurveRow.step > checkpoint.step))
    return checkpoint_row


async def _warn_held_back(session: AsyncSession, row: JobRow, others: list[str]) -> None:
    """Warns that a checkpoint which passed waits for a person, because other jobs of its run did not pass."""
    message = (
        f"this job passed its policy, but {', '.join(others)}, which shared its run, did not: the checkpoint, which is"
        " the same for all, waits for a person's release; or submit the request again by itself"
    )
    warning = {"code": "shared_run_held_back", "message": message}
    row.warnings = [*row.warnings, warning]
    await events.append(session, row, EventType.WARNING, warning)


async def _record_verdict(session: AsyncSession, row: JobRow, judgement: Judgement | None) -> dict[str, str]:
    """Writes the verdict to the job's row and events; returns the result of each part. Without a judgement the verdict
    is `not_judged`."""
    row.verdict = _verdict(judgement)
    if judgement is None:
        return {}
    parts: dict[str, str] = {part: judged.result for part, judged in judgement.parts.items()}
    row.judgement = judgement.model_dump(mode="json")
    judged = {
        "verdict": judgement.verdict,
        "parts": parts,
        "scope": judgement.scope,
        "reason": judgement.reason,
        "policy": judgement.policy,
    }
    await events.append(session, row, EventType.JUDGED, judged)
    return parts


async def finish_without_checkpoint(
    session: AsyncSession, job: str, fence: int, *, outcome: Outcome | None, judgement: Judgement | None = None
) -> None:
    """Ends a job that makes no checkpoint as succeeded: its measurements are written already.

    A job that found nothing to forget has a judgement of the model as it is.
    """
    row = await lock_job(session, job, fence)
    if judgement is not None:
        await _record_verdict(session, row, judgement)
    await job_status.succeed(session, row, outcome=outcome, checkpoint=None, data={"outcome": outcome})


async def was_finished_without_checkpoint(session: AsyncSession, job: str, fence: int) -> bool:
    """Whether the holder of this fence ended the job; asked when the answer to its COMMIT was lost."""
    query = select(JobRow.id).where(JobRow.id == job, JobRow.status == "succeeded", JobRow.fence == fence + 1)
    return await session.scalar(query) is not None


async def find_checkpoint(session: AsyncSession, job: str, *, prefix: str) -> str | None:
    """The checkpoint that the finish of this attempt made; None where it made none.

    Asked when the answer to the finish's COMMIT was lost.
    """
    query = select(CheckpointRow.id).where(CheckpointRow.job == job, CheckpointRow.prefix == prefix)
    return await session.scalar(query)


async def ended_jobs(session: AsyncSession, jobs: Collection[str]) -> set[str]:
    """Returns those of the jobs that have ended; an unknown job is left out, as in `ended_attempts`."""
    query = select(JobRow.id).where(JobRow.id.in_(jobs), JobRow.status.in_(TERMINAL))
    return set((await session.scalars(query)).all())


async def lock_ended(session: AsyncSession, job: str) -> bool:
    """Locks the row of a job that has ended, so that nobody retries it before the transaction ends. False: the job has
    not ended, or is unknown."""
    query = select(JobRow.id).where(JobRow.id == job, JobRow.status.in_(TERMINAL)).with_for_update()
    return await session.scalar(query) is not None


async def lock_unclaimed(session: AsyncSession, job: str) -> bool:
    """Locks the row of a job that no worker holds, so that none claims it before the transaction ends. False: a worker
    holds it, or it is unknown."""
    query = select(JobRow.id).where(JobRow.id == job, JobRow.status != "running").with_for_update()
    return await session.scalar(query) is not None


async def ended_attempts(session: AsyncSession, attempts: Collection[tuple[str, int]]) -> set[tuple[str, int]]:
    """Returns those of the attempts `(job, fence)` that are over, whether they delivered a checkpoint or not.

    An attempt at an unknown job is left out: storage and scratch may be shared with another database.
    """
    return {attempt for attempt, _ in await _ended(session, attempts)}


async def undelivered_attempts(session: AsyncSession, attempts: Collection[tuple[str, int]]) -> set[tuple[str, int]]:
    """Returns those of `ended_attempts` that delivered no checkpoint."""
    return {attempt for attempt, delivered in await _ended(session, attempts) if not delivered}


async def _ended(session: AsyncSession, attempts: Collection[tuple[str, int]]) -> list[tuple[tuple[str, int], bool]]:
    """The attempts that are over, each with whether it delivered a checkpoint."""
    # one statement, one snapshot: a finish between two statements would look like a job over without a checkpoint
    query = (
        select(JobRow.id, JobRow.status, JobRow.fence, func.array_remove(func.array_agg(CheckpointRow.prefix), None))
        .outerjoin(CheckpointRow, CheckpointRow.job == JobRow.id)
        .where(JobRow.id.in_({job for job, _ in attempts}))
        .group_by(JobRow.id)
    )
    jobs = {id: (status, fence, prefixes) for id, status, fence, prefixes in (await session.execute(query)).all()}
    ended = []
    for job, fence in attempts:
        if job not in jobs:
            continue
        status, current_fence, prefixes = jobs[job]
        if not (status == "running" and fence == current_fence):
            ended.append(((job, fence), checkpoint_prefix(job, fence) in prefixes))
    return ended
