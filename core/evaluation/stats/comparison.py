"""Comparisons of two figures: their difference or ratio, with an interval."""

import math
from dataclasses import dataclass
from typing import Literal

from core.evaluation.stats.student_t import student_factor
from core.schema.evaluation import Figure

FEW = 20
"""On fewer records a figure's interval is at least as wide as the one that as many unseen records would have."""

_LARGEST_EXPONENT = 700.0  # exp of more is no finite number


@dataclass(frozen=True)
class Comparison:
    """A difference, a ratio, or a figure by itself. Without an interval it shows nothing for sure."""

    value: float
    low: float | None
    high: float | None


class NoRatio(ValueError):
    """A ratio of a figure that is 0 or less."""


def uncompared(figure: Figure) -> Comparison:
    """The figure by itself."""
    return Comparison(figure.value, figure.low, figure.high)


def compare(figure: Figure, other: Figure, by: Literal["difference", "ratio"]) -> Comparison:
    """figure - other, or figure / other, of two samples that are independent or rise and fall together.

    Combines both intervals (MOVER: Zou and Donner, Stat. Med. 2008, 27:1693; a ratio on logarithms). The interval of
    samples that rise and fall together is too wide, never too narrow. There is no interval where either figure has
    none; an exactly known figure has an interval of no width (`as_constant`). Raises NoRatio.
    """
    if by == "ratio":
        logarithms = compare(_logarithm(figure), _logarithm(other), "difference")
        return Comparison(_exponential(logarithms.value), _limit(logarithms.low), _limit(logarithms.high))
    value = figure.value - other.value
    if figure.low is None or figure.high is None or other.low is None or other.high is None:
        return Comparison(value, None, None)
    return Comparison(
        value,
        value - math.hypot(figure.value - figure.low, other.high - other.value),
        value + math.hypot(figure.high - figure.value, other.value - other.low),
    )


def as_constant(figure: Figure) -> Figure:
    """The figure with an interval of no width: true of these very records, not of others like them."""
    return figure.model_copy(update={"low": figure.value, "high": figure.value})


def without_interval(figure: Figure) -> Figure:
    """The figure without its interval: its records are too few to tell how far records lie apart."""
    return figure.model_copy(update={"low": None, "high": None})


def interval_from_larger_sample(figure: Figure, larger: Figure | None, by: Literal["difference", "ratio"]) -> Figure:
    """The figure with an interval at least as wide as that of as many records of a larger sample of the same kind.

    A few records do not tell how far records lie apart, and a single one tells nothing of it; the larger sample does.
    Its interval is scaled by the root of (its records / the figure's records). The figure's own interval counts as
    Student's where that is the wider. A figure on FEW records or more stays as it is; on fewer records, without a
    sample of at least FEW to go by, it has no interval.
    """
    if figure.records >= FEW:
        return figure
    if larger is None or larger.low is None or larger.high is None or larger.records < FEW:
        return without_interval(figure)
    if by == "ratio":
        try:
            logarithms = interval_from_larger_sample(_logarithm(figure), _logarithm(larger), "difference")
        except NoRatio:
            return without_interval(figure)
        return figure.model_copy(update={"low": _limit(logarithms.low), "high": _limit(logarithms.high)})
    scale = math.sqrt(larger.records / figure.records)
    low = figure.value - scale * (larger.value - larger.low)
    high = figure.value + scale * (larger.high - larger.value)
    if figure.low is not None and figure.high is not None and figure.records > 1:
        own = student_factor(figure.records)
        low = min(low, figure.value - (figure.value - figure.low) / own)
        high = max(high, figure.value + (figure.high - figure.value) / own)
    return figure.model_copy(update={"low": low, "high": high})


def without_spread(figure: Figure) -> Figure:
    """The figure without its interval where it stands on one record, or on fewer than FEW that do not differ at all:
    such records do not tell how far records lie apart."""
    if figure.records >= FEW:
        return figure
    return without_interval(figure) if figure.records < 2 or figure.low == figure.high else figure


def _logarithm(figure: Figure) -> Figure:
    if figure.value <= 0 or (figure.low is not None and figure.low <= 0):
        raise NoRatio
    logarithms = {
        "value": math.log(figure.value),
        "low": None if figure.low is None else math.log(figure.low),
        "high": None if figure.high is None else math.log(figure.high),
    }
    return figure.model_copy(update=logarithms)


def _exponential(nats: float) -> float:
    return math.exp(min(nats, _LARGEST_EXPONENT))


def _limit(nats: float | None) -> float | None:
    return None if nats is None else _exponential(nats)
