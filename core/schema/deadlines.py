"""Deadlines: the day by which a job must be done, how it is extended, and arithmetic on calendar months."""

from calendar import monthrange
from datetime import UTC, date, datetime, timedelta

from pydantic import Field, field_validator

from core.schema.strict import Answer, Strict

DUE_MONTHS = 1
"""Calendar months from the receipt of a request to its deadline, where the request names no other day."""
EXTENSION_MONTHS = 2
"""Calendar months that all extensions of a job may add to its first deadline."""
AT_RISK = timedelta(days=7)
"""An unfulfilled job that is due within so many days is at risk."""


class DeadlineExtension(Answer):
    """One extension of a job's deadline."""

    previous_due: date = Field(description="The deadline until then.")
    due: date = Field(description="The deadline from then on.")
    reason: str = Field(description="Why the deadline was extended.")
    extended_by: str = Field(description="The id of the key that extended it.")
    extended_at: datetime = Field(description="When it was extended.")


class ExtensionRequest(Strict):
    """The body of `POST /v1/jobs/{id}/extend`."""

    reason: str = Field(
        max_length=2000,
        description="Why the request takes longer. The job and the audit log keep it.",
        examples=["Forty requests on this model came in at once."],
    )
    due: date | None = Field(
        default=None,
        description="The new deadline. Default: the latest day that is allowed, two calendar months after the job's"
        " first deadline.",
    )

    @field_validator("reason")
    @classmethod
    def _is_not_blank(cls, reason: str) -> str:
        if not reason.strip():
            raise ValueError("say in words why the request takes longer")
        return reason


def add_months(day: date, months: int) -> date:
    """Returns the same day `months` later; the month's last day where that month is too short.

    Periods in months end like this by Regulation (EEC, Euratom) 1182/71, article 3(2)(c). The calendar ends with the
    year 9999.
    """
    years, month = divmod(day.month - 1 + months, 12)
    year = day.year + years
    if year > date.max.year:
        return date.max
    return date(year, month + 1, min(day.day, monthrange(year, month + 1)[1]))


def default_due(received_at: datetime) -> date:
    """Returns the deadline of a request that names none: one calendar month after the day of its receipt in UTC."""
    return add_months(received_at.astimezone(UTC).date(), DUE_MONTHS)


def latest_due(first_due: date) -> date:
    """Returns the last day that a job's first deadline may be extended to."""
    return add_months(first_due, EXTENSION_MONTHS)
