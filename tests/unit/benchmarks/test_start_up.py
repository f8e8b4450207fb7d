"""The times that the start-up benchmark reads from events and logs, and its table."""

import itertools
import json

import pytest

from api.cli.child import ChildFailed
from api.client import ServerSentEvent
from benchmarks.start_up import AT_ONCE, NONE, WAITING, JobTimes, child_is_waiting, job_times, table, used_waiting_child


def messages_of(*types: str) -> list[ServerSentEvent]:
    return [
        ServerSentEvent(*(("phase", {"phase": type[1:]}) if type.startswith("/") else (type, {"step": 1})), id=None)
        for type in types
    ]


def elapsed() -> "itertools.count[float]":
    return itertools.count(1.0)


def test_of_each_moment_the_first_sign_counts() -> None:
    clock = elapsed()
    messages = messages_of("queued", "started", "/loading", "/measuring_before", "/unlearning", "progress", "progress")
    assert job_times([*messages, *messages_of("/saving", "succeeded")], clock.__next__) == JobTimes(4.0, 6.0, 9.0)


def test_a_job_that_did_not_succeed_is_no_figure() -> None:
    with pytest.raises(ChildFailed, match="succeeded"):
        job_times(messages_of("/measuring_before", "progress", "failed"), elapsed().__next__)


def lines(*events: tuple[str, int]) -> list[str]:
    return ["no JSON", *(json.dumps({"event": event, "pid": pid}) for event, pid in events)]


def test_a_child_is_ready_when_it_says_so_and_until_it_is_given_a_job() -> None:
    assert not child_is_waiting(lines(("child starts", 1)))
    assert child_is_waiting(lines(("child starts", 1), ("child waits", 2)))
    assert not child_is_waiting(lines(("child waits", 2), ("child starts", 2)))
    assert not child_is_waiting(lines(("child waits", 2), ("child starts", 2), ("child starts", 3)))
    assert child_is_waiting(lines(("child waits", 2), ("child starts", 2), ("child waits", 4)))


def test_the_log_tells_which_jobs_had_a_child_that_waited() -> None:
    starts = [json.dumps({"event": "child starts", "pid": pid, "warm": warm}) for pid, warm in ((1, True), (2, False))]
    assert used_waiting_child([*lines(("child waits", 1)), *starts]) == [True, False]


def test_the_table_lines_up_and_its_ratios_are_of_medians() -> None:
    quick, slow = (
        [JobTimes(1.0, 2.0, 4.0), JobTimes(1.0, 2.0, 5.0), JobTimes(9.0, 9.0, 9.0)],
        [JobTimes(3.0, 4.0, 10.0)],
    )
    rows = table({"tiny": {WAITING: quick, NONE: slow, AT_ONCE: slow}}).splitlines()
    assert len({len(row) for row in rows}) == 1
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]
    assert cells[2] == ["tiny", WAITING, "1.00 (1.00–9.00)", "2.00 (2.00–9.00)", "5.00 (4.00–9.00)"]
    assert cells[-1][2:] == ["3.00", "2.00", "2.00"]
