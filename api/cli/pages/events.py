"""docs/events.md, generated from the catalogue of events."""

from core.schema.event_types import EVENTS, PROGRESS_MESSAGE, EventDescription, EventType

_HEAD = f"""# Events

Made by `unlearn events --markdown > docs/events.md`. A test holds the page equal to the catalogue that the service
itself uses (`core/schema/event_types.py`).

Every job keeps a list of what happened to it: `GET /v1/jobs/{{id}}/events`, newest first. Each event has a number
(`seq`, from 1, without gaps), a `type`, its `data` and a time. No event holds a record's text.

With `Accept: text/event-stream` the same address sends the events live: the type is the message's `event`, the number
its `id`. A client that lost its connection sends the last number as `Last-Event-ID` and misses nothing. Between events
the stream sends messages named `{PROGRESS_MESSAGE}`, with the fields of the job's `progress`. They have no number and
are not kept.

The level says how much attention an event needs: `info`, `warning` or `error`. A job ends with `succeeded`, `failed` or
`cancelled`. After that a failed job may be retried (`requeued`) or cancelled, and a checkpoint that waits may be
released (`released`).

| type | level | meaning |
|---|---|---|
"""


def page() -> str:
    """Returns the whole page."""
    rows = "".join(
        f"| [`{event_type}`](#{event_type}) | {description.level} | {description.meaning} |\n"
        for event_type, description in EVENTS.items()
    )
    return f"{_HEAD}{rows}" + "".join(_section(event_type, description) for event_type, description in EVENTS.items())


def _section(event_type: EventType, description: EventDescription) -> str:
    fields = "".join(f"| `{name}` | {meaning} |\n" for name, meaning in description.data.items())
    table = f"| data | meaning |\n|---|---|\n{fields}" if fields else "No data.\n"
    return f"\n## {event_type}\n\n{description.meaning}\n\n{table}"
