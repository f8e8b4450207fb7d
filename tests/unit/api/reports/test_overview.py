"""The facts of a request: each with what the service knows of it."""

from datetime import UTC, date, datetime
from typing import Any

import pytest

from api.reports.blocks import Badge, Cell, Facts
from api.reports.sections.overview import overview
from core.schema.report import Report, ReportDeadline, ReportKey, ReportRequest

ENDED = datetime(2026, 11, 28, 7, 31, tzinfo=UTC)


def facts(requester_text: str = "Only the key is known.", **fields: Any) -> dict[str, Cell]:
    given: dict[str, Any] = {"received_text": "The request stated it.", "due_text": "It is the default."}
    given |= {"due": date(2026, 12, 20), "kept": True, "kept_text": "It ended before.", "extensions": [], **fields}
    request = ReportRequest(
        organisation="Test House",
        submitter=ReportKey(id="key-1", name="portal"),
        external_reference=None,
        submitted_at=ENDED,
        requester_text=requester_text,
    )
    report = Report.model_construct(
        kind="unlearn",
        status="failed",
        job="job-1",
        summary=[],
        request=request,
        deadline=ReportDeadline(received_at=ENDED, ended_at=ENDED, **given),
        verdict=None,
        checkpoint=None,
    )
    (block,) = [block for block in overview(report).blocks if isinstance(block, Facts)]
    return dict(block.rows)


def test_each_date_says_who_set_it_and_the_key_what_it_tells() -> None:
    shown = facts()
    assert shown["Asked by"] == "key “portal” (key-1). Only the key is known."
    assert shown["Received"] == "28 November 2026, 07:31:00 UTC. The request stated it."
    assert shown["Given to the service"] == "28 November 2026, 07:31:00 UTC. By the service's own clock."
    assert shown["To be done by"] == "20 December 2026. It is the default."


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, Badge("yes", "good", "It ended before.")),
        ({"kept": False}, Badge("no", "bad", "It ended before.")),
        ({"kept": None, "kept_text": "It did not succeed."}, "It did not succeed."),
        ({"kept": None, "due": None, "kept_text": "There was none."}, None),
    ],
    ids=["kept", "missed", "not fulfilled", "no deadline"],
)
def test_the_deadline_is_told_as_kept_missed_or_not_fulfilled(fields: dict[str, Any], expected: Cell | None) -> None:
    assert facts(**fields).get("Job ended by the due date") == expected


def test_a_report_of_an_earlier_version_has_dates_without_origins() -> None:
    shown = facts("", received_text="", due_text="", kept_text="")
    assert shown["Asked by"] == "key “portal” (key-1)"
    assert shown["To be done by"] == "20 December 2026"
