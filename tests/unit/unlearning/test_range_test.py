"""The learning rate range test."""

import math

import pytest

from core.unlearning.range_test import FASTEST, GROWTH, HIGHEST, LOWEST, MOVED, SLOWEST, find_learning_rate
from core.unlearning.updater import NonFiniteLoss


class Weights:
    """A model that goes from 0 to 1 as the sum of the learning rates goes from 0 to `way`."""

    def __init__(self, way, harm=0.0, breaks_at=math.inf):
        self.way, self.harm, self.breaks_at = way, harm, breaks_at
        self.rates = []

    def update(self, trial, rate):
        assert trial == len(self.rates)
        if rate >= self.breaks_at:
            raise NonFiniteLoss
        self.rates.append(rate)

    def movement(self):
        return sum(self.rates) / self.way, self.harm * sum(self.rates)


def found(weights, *, recipe=1e-3, updates=10):
    return find_learning_rate(weights.update, weights.movement, recipe=recipe, updates=updates)


@pytest.mark.parametrize("way", [0.01, 0.1, 1.0])
def test_the_training_goes_as_far_as_the_test_within_a_few_updates(way):
    test = found(weights := Weights(way))
    assert test.moved >= MOVED
    assert sum(weights.rates[:-1]) < MOVED * way, "the test ends with the update that moves it far enough"
    assert test.learning_rate == pytest.approx(sum(weights.rates) / FASTEST, rel=0.05)
    assert test.trials == len(weights.rates)


def test_the_rate_follows_the_model_and_not_the_recipe():
    rates = [found(Weights(0.1), recipe=recipe).learning_rate for recipe in (1e-4, 1e-3, 1e-2)]
    assert max(rates) / min(rates) < GROWTH**2


def test_a_long_training_is_slower():
    assert found(Weights(0.1), updates=10_000).learning_rate == pytest.approx(
        found(Weights(0.1), updates=1).learning_rate * FASTEST / SLOWEST, rel=0.05
    )


def test_harm_ends_the_test():
    test = found(Weights(1e9, harm=100.0))
    assert 0 < test.learning_rate < 1e-3
    assert test.moved < MOVED


def test_a_method_that_hardly_moves_the_model_ends_at_the_highest_rate():
    test = found(weights := Weights(1e9))
    assert HIGHEST * 1e-3 / GROWTH < weights.rates[-1] <= HIGHEST * 1e-3
    assert test.trials == len(weights.rates) == 1 + int(math.log(HIGHEST / LOWEST) / math.log(GROWTH))


def test_a_loss_that_is_no_number_ends_the_test():
    test = found(weights := Weights(1e9, breaks_at=1e-3))
    assert test.learning_rate == pytest.approx(sum(weights.rates) / FASTEST, rel=0.05)
    assert found(Weights(1e9, breaks_at=0.0)).learning_rate == pytest.approx(LOWEST * 1e-3 / FASTEST, rel=0.05)
