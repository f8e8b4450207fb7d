"""The days that are left until a job's deadline."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from api.cli.jobs import _due
from core.schema.jobs import Job


@pytest.fixture(params=["<-12>12", "<+14>-14"])
def far_time_zone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Time zones of which one at least has another day than UTC."""
    with monkeypatch.context() as patch:
        patch.setenv("TZ", request.param)
        time.tzset()
        yield
    time.tzset()


@pytest.mark.usefixtures("far_time_zone")
def test_days_are_counted_in_utc_as_the_service_counts_them() -> None:
    while (today := datetime.now(UTC)).hour == 23 and today.minute == 59 and today.second > 55:
        time.sleep(1)  # midnight must not fall between here and there
    for days, left in ((-1, "overdue"), (0, "today"), (1, "tomorrow"), (2, "in 2 days")):
        due = today.date() + timedelta(days=days)
        assert _due(Job.model_construct(status="queued", due=due)) == f"{due.isoformat()} ({left})"
