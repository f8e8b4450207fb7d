"""Messages about the ends of children."""

import pytest

from worker.failure import child_died


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (-9, "signal 9 (SIGKILL): most likely the host ran out of memory"),
        (-11, "SIGSEGV"),
        (-64, "SIGRTMAX"),
        (5, "code 5"),
    ],
)
def test_a_childs_death_is_explained(status: int, words: str) -> None:
    error = child_died(status).error
    assert words in error.message
    assert (error.code, error.blame, error.retryable) == ("child_died", "service", True)


def test_only_sigkill_is_explained_by_memory() -> None:
    assert "memory" not in child_died(-11).error.message
    assert "memory" not in child_died(1).error.message
