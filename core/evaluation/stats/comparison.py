"""How one figure compares with another, and how sure that is: differences and ratios of two figures with intervals."""

import math
from dataclasses import dataclass
from typing import Literal

from core.evaluation.stats.student_t import widening
from core.schema.evaluation import Figure

FEW = 20
"""On fewer records the interval of a figure is at least as wide as that of so many unseen records would be."""

_MOST = 700.0  # exp of more is no finite number


@dataclass(frozen=True)
class Compared:
    """A difference, a ratio, or a figure itself; without an interval nothing can be said for sure."""

    value: float
    low: float | None
    high: float | None


class NoRatio(ValueError):
    """Of a figure that is 0 or less."""


def alone(one: Figure) -> Compared:
    return Compared(one.value, one.low, one.high)


def compared(one: Figure, other: Figure, by: Literal["difference", "ratio"]) -> Compared:
    """one - other, or one / other, of two samples that do not hang together, or at most the same way.

    From both intervals (MOVER: Zou and Donner, Stat. Med. 2008, 27:1693; a ratio on logarithms): of samples that rise
    and fall together it is too wide, never too narrow. Without an interval where either has none: what is exactly known
    has one of no width (`known`). Raises NoRatio.
    """
    if by == "ratio":
        found = compared(_logarithm(one), _logarithm(other), "difference")
        return Compared(_exponential(found.value), *(_end(end) for end in (found.low, found.high)))
    value = one.value - other.value
    if one.low is None or one.high is None or other.low is None or other.high is None:
        return Compared(value, None, None)
    return Compared(
        value,
        value - math.hypot(one.value - one.low, other.high - other.value),
        value + math.hypot(one.high - one.value, other.value - other.low),
    )


def known(one: Figure) -> Figure:
    """The figure as one that does not vary: what holds for these very records, not for others like them."""
    return one.model_copy(update={"low": one.value, "high": one.value})


def unsure(one: Figure) -> Figure:
    """The figure without an interval: of records too few to tell how far records lie apart."""
    return one.model_copy(update={"low": None, "high": None})


def widened(one: Figure, like: Figure | None, by: Literal["difference", "ratio"]) -> Figure:
    """The figure with an interval at least as wide as so many records of another sample would have.

    A few records do not tell how far records lie apart, and one tells nothing of it; a larger sample of the same kind
    does: its interval, times the root of how many times more records it stands on. So their own interval need not be
    Student's, but is not left out where it is the wider. On FEW records or more the figure stays as it is; on fewer,
    with no sample of FEW to go by, it has no interval.
    """
    if one.records >= FEW:
        return one
    if like is None or like.low is None or like.high is None or like.records < FEW:
        return unsure(one)
    if by == "ratio":
        try:
            found = widened(_logarithm(one), _logarithm(like), "difference")
        except NoRatio:
            return unsure(one)
        return one.model_copy(update={"low": _end(found.low), "high": _end(found.high)})
    times = math.sqrt(like.records / one.records)
    low = one.value - times * (like.value - like.low)
    high = one.value + times * (like.high - like.value)
    if one.low is not None and one.high is not None and one.records > 1:
        own = widening(one.records)
        low = min(low, one.value - (one.value - one.low) / own)
        high = max(high, one.value + (one.high - one.value) / own)
    return one.model_copy(update={"low": low, "high": high})


def of_few(one: Figure) -> Figure:
    """The figure without an interval where it stands on a single record, or on a few that do not differ at all: they
    do not tell how far records lie apart."""
    if one.records >= FEW:
        return one
    return unsure(one) if one.records < 2 or one.low == one.high else one


def _logarithm(one: Figure) -> Figure:
    if one.value <= 0 or (one.low is not None and one.low <= 0):
        raise NoRatio
    ends = {
        "value": math.log(one.value),
        "low": None if one.low is None else math.log(one.low),
        "high": None if one.high is None else math.log(one.high),
    }
    return one.model_copy(update=ends)


def _exponential(nats: float) -> float:
    return math.exp(min(nats, _MOST))


def _end(nats: float | None) -> float | None:
    return None if nats is None else _exponential(nats)
