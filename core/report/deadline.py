"""The dates of a request in sentences: who set each of them, and whether the deadline was kept."""

from datetime import UTC, date, datetime, timedelta

from core.report.days import day_text
from core.schema.deadlines import default_due

AT_ARRIVAL = timedelta(minutes=1)
"""A time of receipt that lies no longer before the submission is that of the submission."""


def receipt_words(received_at: datetime, submitted_at: datetime) -> str:
    """Returns where the time of receipt comes from."""
    if submitted_at - received_at <= AT_ARRIVAL:
        return "The service's own clock set it, when the request reached the service."
    return "The request stated this time; the service cannot check it."


def due_words(received_at: datetime, dues: list[date]) -> str:
    """Returns how the last day was set. `dues` are the first last day and that of each extension, oldest first."""
    if not dues:
        return "The request named no last day."
    by_default = dues[0] == default_due(received_at)
    first = (
        "one calendar month after the day of receipt, as for every request that names no other day"
        if by_default
        else "the day that the request named"
    )
    if len(dues) == 1:
        return f"It is {first}."
    extended = "once" if len(dues) == 2 else f"{len(dues) - 1} times"
    return f"It was extended {extended}. At first it was {day_text(dues[0])}: {first}."


def kept_words(due: date | None, ended_at: datetime, *, succeeded: bool, new_model: bool) -> str:
    """Returns whether the deadline was kept, and by which days. `new_model`: the job made a checkpoint."""
    ended = ended_at.astimezone(UTC).date()
    if due is None:
        return "There was no deadline to keep."
    if not succeeded:
        return "The job did not succeed, so that the request is not fulfilled by it."
    when = f"The job ended on {day_text(ended)}; the last day was {day_text(due)}."
    in_use = " When the new model came into use is not known to the service." if new_model else ""
    return f"{when} Days are counted in UTC.{in_use}"
