"""Scales: from figures to places in a picture, with round numbers at the ticks."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

MANIFOLD = 5.0
"""A logarithmic scale that covers no more than this factor has the ticks of a linear one."""


@dataclass(frozen=True)
class Scale:
    """Maps figures from `low` to `high` onto places from `start` to `end`; logarithmically where `log`."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def place(self, value: float) -> float:
        """Returns the place of a figure; a figure outside is put at the edge."""
        low, high, inside = (self._position(limit) for limit in (self.low, self.high, self._clipped(value)))
        return self.start + (inside - low) / (high - low) * (self.end - self.start)

    def _clipped(self, value: float) -> float:
        return min(max(value, self.low), self.high)

    def _position(self, value: float) -> float:
        return math.log10(value) if self.log else value

    def ticks(self) -> list[float]:
        """Returns about five round figures on the scale."""
        if self.log and self.high / self.low > MANIFOLD:
            return _log_ticks(self.low, self.high)
        step = _round_step((self.high - self.low) / 5)
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        return [number * step for number in range(first, last + 1)]


def linear(values: Iterable[float], start: float, end: float, *, at_least: tuple[float, float]) -> Scale:
    """Returns a linear scale that holds the values and the range `at_least`."""
    listed = [*values, *at_least]
    low, high = min(listed), max(listed)
    return Scale(low, high if high > low else low + 1, start, end)


def logarithmic(values: Iterable[float], start: float, end: float) -> Scale:
    """Returns a logarithmic scale that holds the values, which are above 0."""
    listed = list(values)
    low, high = min(listed) / 1.15, max(listed) * 1.15
    return Scale(low, high, start, end, log=True)


def _round_step(raw: float) -> float:
    power = 10.0 ** math.floor(math.log10(raw))
    return next(factor * power for factor in (1.0, 2.0, 2.5, 5.0, 10.0) if factor * power >= raw * 0.999)


def _log_ticks(low: float, high: float) -> list[float]:
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for factors in ((1, 2, 5), (1, 3), (1,)):
        ticks = [factor * 10.0**decade for decade in decades for factor in factors]
        inside = [tick for tick in ticks if low <= tick <= high]
        if len(inside) <= 7:
            break
    return inside or [low * 1.15]


def tick_text(value: float) -> str:
    """Returns a tick's label."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.6g}"
