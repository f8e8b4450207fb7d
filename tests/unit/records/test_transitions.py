"""The table of a job's allowed status changes."""

import pytest

from core.records.job_status import CHANGES, TRANSITIONS
from core.records.tables import JobRow
from core.schema.jobs import STATUSES, TERMINAL


def test_every_status_has_its_row_and_leads_only_to_others() -> None:
    assert set(TRANSITIONS) == set(STATUSES)
    assert all(then <= set(STATUSES) - {now} for now, then in TRANSITIONS.items())


def test_a_failure_alone_is_no_final_end_and_everything_else_can_end() -> None:
    assert {now: TRANSITIONS[now] for now in TERMINAL} == {
        "succeeded": frozenset(),
        "failed": {"queued", "cancelled"},
        "cancelled": frozenset(),
    }
    assert all("cancelled" in TRANSITIONS[now] for now in set(STATUSES) - TERMINAL)


def test_only_a_running_job_can_succeed_or_fail() -> None:
    for target in ("succeeded", "failed"):
        assert [now for now in STATUSES if target in TRANSITIONS[now]] == ["running"]


def test_every_change_from_or_to_running_raises_the_fence_and_no_other_does() -> None:
    for change in CHANGES:
        assert change.raises_fence == ("running" in (*change.sources, change.target)), change


def test_every_change_that_leaves_running_ends_the_lease_and_grants_the_request() -> None:
    for change in CHANGES:
        if "running" in change.sources:
            assert {"lease_expires_at", "worker", "eta_seconds", "requested"} <= set(change.clears), change


def test_every_change_into_the_queue_gives_workers_a_hint_and_no_other_does() -> None:
    for change in CHANGES:
        assert change.hints == (change.target == "queued"), change


@pytest.mark.parametrize("column", sorted({column for change in CHANGES for column in change.clears}))
def test_a_column_that_a_change_clears_may_be_null(column: str) -> None:
    assert JobRow.__table__.columns[column].nullable
