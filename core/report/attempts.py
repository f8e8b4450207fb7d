"""The attempts at a job, out of its events."""

from collections.abc import Iterable

from core.records.tables import EventRow
from core.schema.environment import Environment
from core.schema.event_types import EventType
from core.schema.report import AttemptEnd, ReportAttempt

_ENDS: dict[str, AttemptEnd] = {
    EventType.SUCCEEDED: "succeeded",
    EventType.FAILED: "failed",
    EventType.CANCELLED: "cancelled",
    EventType.PAUSED: "paused",
    EventType.REQUEUED: "requeued",
}


def read_attempts(events: Iterable[EventRow]) -> list[ReportAttempt]:
    """Returns the attempts in order of time. A job that was cancelled or paused while it waited ends no attempt."""
    attempts: list[ReportAttempt] = []
    for event in events:
        if event.type == EventType.STARTED:
            attempts.append(
                ReportAttempt(
                    number=event.data["attempt"],
                    started_at=event.created_at,
                    ended_at=None,
                    end=None,
                    reason=None,
                    environment=None,
                )
            )
        elif not attempts or attempts[-1].end is not None:
            continue
        elif event.type == EventType.ENVIRONMENT:
            attempts[-1].environment = Environment.model_validate(event.data)
        elif event.type in _ENDS:
            attempts[-1].ended_at, attempts[-1].end = event.created_at, _ENDS[event.type]
            attempts[-1].reason = _reason(event)
    return attempts


def _reason(event: EventRow) -> str | None:
    reason = event.data["error"]["code"] if event.type == EventType.FAILED else event.data.get("reason")
    return None if reason is None else str(reason)
