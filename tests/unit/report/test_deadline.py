"""The dates of a request, and who asked, in sentences."""

from datetime import UTC, date, datetime, timedelta

import pytest

from core.report.deadline import due_words, kept_words, receipt_words
from core.report.requester import requester_words

SUBMITTED = datetime(2026, 1, 31, 23, 30, tzinfo=UTC)
DEFAULT = date(2026, 2, 28)


def test_a_time_of_receipt_is_the_services_or_the_requests() -> None:
    own = receipt_words(SUBMITTED - timedelta(seconds=2), SUBMITTED)
    assert own == "The service's own clock set it, when the request reached the service."
    stated = receipt_words(SUBMITTED - timedelta(days=3), SUBMITTED)
    assert stated == "The request stated this time; the service cannot check it."


@pytest.mark.parametrize(
    ("dues", "words"),
    [
        ([], "The request named no last day."),
        ([DEFAULT], "It is one calendar month after the day of receipt, as for every request that names no other day."),
        ([date(2026, 2, 27)], "It is the day that the request named."),
        (
            [DEFAULT, date(2026, 4, 28)],
            "It was extended once. At first it was 28 February 2026: one calendar month after the day of receipt, as"
            " for every request that names no other day.",
        ),
        (
            [date(2026, 2, 27), date(2026, 3, 27), date(2026, 4, 27)],
            "It was extended 2 times. At first it was 27 February 2026: the day that the request named.",
        ),
    ],
)
def test_the_last_day_says_how_it_was_set(dues: list[date], words: str) -> None:
    assert due_words(SUBMITTED, dues) == words


def test_the_deadline_says_by_which_days_it_was_kept() -> None:
    words = kept_words(DEFAULT, SUBMITTED, succeeded=True, new_model=True)
    assert words.startswith("The job ended on 31 January 2026; the last day was 28 February 2026.")
    assert words.endswith("When the new model came into use is not known to the service.")
    unchanged = kept_words(DEFAULT, SUBMITTED, succeeded=True, new_model=False)
    assert unchanged.endswith("the last day was 28 February 2026. Days are counted in UTC.")
    assert kept_words(None, SUBMITTED, succeeded=True, new_model=True) == "There was no deadline to keep."
    assert kept_words(DEFAULT, SUBMITTED, succeeded=False, new_model=False).startswith("The job did not succeed")


def test_who_asked_is_known_by_the_key_and_the_reference() -> None:
    assert requester_words("DSR-2026-0142").endswith("The reference leads to them.")
    assert requester_words(None).endswith("The request names no reference to them.")
    assert "API key alone" in requester_words(None)
