"""The table of allowed state changes."""

from core.schema.jobs import STATUSES, TERMINAL, TRANSITIONS, may_change


def test_every_status_has_its_row_and_leads_only_to_others() -> None:
    assert set(TRANSITIONS) == set(STATUSES)
    assert all(then <= set(STATUSES) - {now} for now, then in TRANSITIONS.items())


def test_nothing_but_a_retry_follows_an_end_and_everything_else_can_end() -> None:
    assert {now: TRANSITIONS[now] for now in TERMINAL} == {
        "succeeded": frozenset(),
        "failed": {"queued"},
        "cancelled": frozenset(),
    }
    assert all(may_change(now, "cancelled") for now in set(STATUSES) - TERMINAL)


def test_only_what_runs_can_succeed() -> None:
    assert [now for now in STATUSES if may_change(now, "succeeded")] == ["running"]
