"""The course of a training: every step has a rate above zero."""

from itertools import pairwise

import pytest

from core.demo.training import rate_factor


def test_the_rate_rises_then_falls_and_is_never_zero() -> None:
    factors = [rate_factor(step, 100, 20) for step in range(100)]
    assert factors[0] == pytest.approx(1 / 20)
    assert max(factors) == factors[19] == 1.0
    assert all(left > right > 0 for left, right in pairwise(factors[20:]))
