"""Any actions on a job, in any order: its status changes as the table allows, and its fence only rises."""

from collections.abc import Awaitable, Callable

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from core.records import completion, job_actions, lease_recovery, leases, progress
from core.records.job_actions import NotAllowed
from core.records.job_status import TRANSITIONS
from core.records.leases import FenceLost
from core.schema.jobs import TERMINAL, Status
from tests.integration.records.scene import Scene
from tests.integration.records.test_completion import uploaded

ERROR = {"code": "x", "message": "x", "blame": "service"}
STALE = 1
"""How far a late worker's fence may be behind the job's."""


async def _claim(session: AsyncSession, scene: Scene, job: str, fence: int) -> None:
    await leases.claim(session, worker="w", gpus=0, lease_seconds=30)


async def _fail(session: AsyncSession, scene: Scene, job: str, fence: int, *, retryable: bool) -> None:
    row = await leases.lock_job(session, job, fence)
    await leases.fail_or_retry(session, row, {**ERROR, "retryable": retryable}, max_failures=3)


async def _expire_lease(session: AsyncSession, scene: Scene, job: str, fence: int) -> None:
    past = "UPDATE jobs SET lease_expires_at = clock_timestamp() - interval '1s' WHERE lease_expires_at IS NOT NULL"
    await session.execute(text(past))
    await lease_recovery.recover_expired(session, max_failures=3)


async def _end_delay(session: AsyncSession, scene: Scene, job: str, fence: int) -> None:
    await session.execute(text("UPDATE jobs SET run_after = clock_timestamp()"))


Action = Callable[[AsyncSession, Scene, str, int], Awaitable[object]]
ACTIONS: dict[str, Action] = {
    "claim": _claim,
    "renew": lambda s, _, job, fence: leases.renew(s, job, fence, lease_seconds=30),
    "phase": lambda s, _, job, fence: progress.set_phase(s, job, fence, "unlearning"),
    "give back": lambda s, _, job, fence: leases.give_back(s, job, fence, reason="x"),
    "fail, may retry": lambda s, scene, job, fence: _fail(s, scene, job, fence, retryable=True),
    "fail for good": lambda s, scene, job, fence: _fail(s, scene, job, fence, retryable=False),
    "lease runs out": _expire_lease,
    "delay is over": _end_delay,
    "ask to pause": lambda s, scene, job, _: job_actions.pause(s, scene.organisation, job),
    "resume": lambda s, scene, job, _: job_actions.resume(s, scene.organisation, job),
    "retry": lambda s, scene, job, _: job_actions.retry(s, scene.organisation, job),
    "ask to cancel": lambda s, scene, job, _: job_actions.cancel(s, scene.organisation, job),
    "cancelled": lambda s, _, job, fence: leases.confirm_cancel(s, job, fence),
    "finish": lambda s, _, job, fence: completion.finish(
        s, job, fence, outcome="unlearned", checkpoint=uploaded(job, fence)
    ),
}
FENCED = {"renew", "phase", "give back", "fail, may retry", "fail for good", "cancelled", "finish"}

action_lists = st.lists(st.tuples(st.sampled_from(sorted(ACTIONS)), st.sampled_from([0, 0, 0, STALE])), max_size=25)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(actions=action_lists)
async def test_a_job_changes_only_as_the_table_allows(
    clean_engine: AsyncEngine, actions: list[tuple[str, int]]
) -> None:
    scene = await Scene(clean_engine).create()
    await scene.model()
    job = await scene.job(start="head")
    before = await scene.row(job)
    for name, behind in actions:
        refused = False
        try:
            async with scene.sessions.begin() as session:
                await ACTIONS[name](session, scene, job, before.fence - behind)
        except (FenceLost, NotAllowed):
            refused = True
        after = await scene.row(job)
        status: Status = before.status  # type: ignore[assignment]
        assert after.status == status or after.status in TRANSITIONS[status], (name, status, after.status)
        assert after.fence >= before.fence
        assert after.failures >= before.failures or name == "retry"
        assert (after.status == "paused") <= (after.requested is None)
        assert (after.status == "running") == (after.lease_expires_at is not None)
        assert (after.finished_at is not None) == (after.status in TERMINAL)
        assert (after.checkpoint is not None) == (after.status == "succeeded")
        assert (after.status in TERMINAL) <= (after.requested is None)
        if name in FENCED:
            holds = behind == 0 and before.status == "running"
            assert refused != holds, (name, before.status)
        if refused:
            assert (after.version, after.event_seq) == (before.version, before.event_seq)
        if before.status == "running" and after.status != "running":
            assert after.fence > before.fence, "the worker that held the job must find out"
        before = after
    seqs = [event.seq for event in await scene.events(job)]
    assert seqs == list(range(1, len(seqs) + 1))
    async with scene.sessions.begin() as session:  # no job is left that the next example could claim
        await session.execute(text("DELETE FROM checkpoints"))
        await session.execute(text("DELETE FROM jobs"))
