"""The errors of the database that pass by themselves, and those that do not."""

import time

import pytest
from sqlalchemy.exc import DBAPIError

from core.records.retry import OutageWait, is_outage, is_transient


def error_of(state: str) -> DBAPIError:
    original = Exception()
    original.sqlstate = state  # type: ignore[attr-defined]
    return DBAPIError("SELECT 1", {}, original)


@pytest.mark.parametrize(
    ("state", "transient", "outage"),
    [
        ("57P01", True, True),  # the server shuts down
        ("40P01", True, True),  # a deadlock
        ("55000", True, True),  # a database that accepts no connections
        ("55P03", True, True),  # a lock that another holds
        ("42P01", False, True),  # a table that a migration has still to make
        ("42501", False, False),  # rights that are missing, perhaps for good
        ("P0001", False, False),  # a trigger refuses
        ("23505", False, False),  # a row that is there already
    ],
)
def test_an_error_of_the_database_passes_or_not_by_its_state(state: str, transient: bool, outage: bool) -> None:
    assert (is_transient(error_of(state)), is_outage(error_of(state))) == (transient, outage)


def test_a_network_that_is_down_passes_and_a_fault_of_the_code_does_not() -> None:
    assert is_outage(ConnectionRefusedError())
    assert not is_outage(KeyError("attempt"))


def test_a_missing_right_is_waited_for_but_not_for_ever() -> None:
    wait = OutageWait(grant_seconds=0.2)
    assert wait.covers(error_of("42501"))  # migrations grant it in a moment
    time.sleep(0.25)
    assert not wait.covers(error_of("42501"))
    assert wait.covers(error_of("42P01"))
    assert not wait.covers(KeyError("attempt"))
    assert OutageWait().covers(error_of("42501"))
