"""The settlement of an attempt: the one transaction that turns its result into the job's new state."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from sqlalchemy.ext.asyncio import AsyncSession

from core.records import completion, forgotten_records, leases
from core.records.completion import UploadedCheckpoint
from core.records.leases import FenceLost
from core.records.retry import retry_transient
from core.schema.jobs import JobError, Outcome
from core.schema.policies import Judgement
from worker.failure import service_failure
from worker.lease import Lease, LeaseExpired, Sessions

Interruption = Literal["cancel", "shutdown", "pause"]


@dataclass(frozen=True)
class Finished:
    """The child did its work; where that delivers a checkpoint, the checkpoint lies in the storage."""

    outcome: Outcome | None
    checkpoint: UploadedCheckpoint | None
    judgements: Mapping[str, Judgement] = field(default_factory=dict)
    """By the job, of all that share the run."""
    forget_digests: Mapping[str, bytes] = field(default_factory=dict)
    """The keyed digests of each job's records to forget, joined, for later jobs."""
    key_check: bytes = b""
    """Tells the service key of these digests (core.storage.record_digests)."""


@dataclass(frozen=True)
class Stopped:
    """The child was told to stop, or was killed. `paused`: it reported that it saved a snapshot, if it could."""

    paused: bool = False


Result = Finished | Stopped | JobError


class Settlement:
    """Settles one attempt, whose checkpoint lies under `prefix`."""

    def __init__(self, lease: Lease, sessions: Sessions, *, prefix: str, max_failures: int) -> None:
        self._lease = lease
        self._sessions = sessions
        self._prefix = prefix
        self._max_failures = max_failures

    async def settle(self, result: Result, interruption: Interruption | None) -> str:
        """Writes the result to all jobs of the attempt in one transaction; returns the leading job's new status."""
        if isinstance(result, Finished):
            return await self._finish(result)
        if interruption == "cancel" and self._lease.is_shared:
            return await self._lease.write_all(leases.leave_run)
        if interruption == "cancel":
            await self._lease.write(leases.confirm_cancel)
            return "cancelled"
        if interruption is not None:
            reason = "shutdown" if interruption == "shutdown" else "asked"
            return await self._lease.write_all(leases.give_back, reason=reason)
        if isinstance(result, Stopped) and result.paused:
            # a third party, such as the host that shuts down, has told the child to end: that is not a failure
            return await self._lease.write_all(leases.give_back, reason="terminated")
        if isinstance(result, Stopped):
            result = service_failure("child_stopped", "the job's process stopped without having been asked to").error
        return await self._lease.write_all(_fail_or_retry, result, max_failures=self._max_failures)

    async def _finish(self, result: Finished) -> str:
        try:
            if result.checkpoint is None or result.outcome is None:
                await self._lease.write_all(_finish_without_checkpoint, result)
            else:
                outcome, checkpoint = result.outcome, result.checkpoint

                async def finish(session: AsyncSession) -> None:
                    await completion.finish_all(
                        session,
                        self._lease.fences,
                        outcome=outcome,
                        checkpoint=checkpoint,
                        judgements=result.judgements,
                    )
                    await forgotten_records.keep(session, result.forget_digests, key_check=result.key_check)

                await self._lease.commit(finish)
        except LeaseExpired:
            raise
        except FenceLost:
            # an earlier try may have been committed without its answer reaching this worker: the job's row tells
            if not await retry_transient(lambda: self._has_finished(result)):
                raise
        return "succeeded"

    async def _has_finished(self, result: Finished) -> bool:
        async with self._sessions() as session:
            if result.checkpoint is None:
                return await completion.was_finished_without_checkpoint(session, self._lease.job, self._lease.fence)
            return await completion.find_checkpoint(session, self._lease.job, prefix=self._prefix) is not None


async def _fail_or_retry(session: AsyncSession, job: str, fence: int, error: JobError, *, max_failures: int) -> str:
    row = await leases.lock_job(session, job, fence)
    return await leases.fail_or_retry(session, row, error.model_dump(), max_failures=max_failures)


async def _finish_without_checkpoint(session: AsyncSession, job: str, fence: int, result: Finished) -> None:
    judgement = result.judgements.get(job)
    await completion.finish_without_checkpoint(session, job, fence, outcome=result.outcome, judgement=judgement)
