"""The sequential test of a record's rank: by a walk over its states, by hand, and simulated beside the exact rank."""

import math
from collections import defaultdict

import numpy as np
import pytest

from core.evaluation.attacks.exposure import mean_rank_p_value
from core.evaluation.attacks.sequential_rank import (
    ENOUGH,
    estimated_rank,
    expected_twins,
    looks,
    never_seen_ranks,
    stopped_rank,
)

TWINS = 99
States = dict[tuple[int, int], float]


def ends(lower: int, twins: int) -> States:
    """The probability of each end (lower so far, scored) where `lower` of all twins have a lower loss, in float64.

    A walk from twin to twin: of what is left, each is as likely to be next.
    """
    states: States = {(0, 0): 1.0}
    stopped: States = {}
    for scored in range(twins):
        following: States = defaultdict(float)
        for (seen, _), probability in states.items():
            share = (lower - seen) / (twins - scored)
            following[seen + 1, scored + 1] += probability * share
            following[seen, scored + 1] += probability * (1 - share)
        done = scored + 1
        states = {}
        for (seen, _), probability in following.items():
            stops = done == twins or (done in (19, 39, 59, 79) and (seen >= 5 or (seen == 0 and done >= 39)))
            (stopped if stops else states)[seen, done] = probability
    assert math.isclose(sum(stopped.values()), 1.0)
    return stopped


def mean_estimate(lower: int) -> float:
    return sum(
        probability * estimated_rank(seen, scored, TWINS)
        for (seen, scored), probability in ends(lower, TWINS).items()
        if probability > 0
    )


def test_the_places_where_the_test_may_stop() -> None:
    assert looks(99) == [19, 39, 59, 79, 99]
    assert looks(19) == [19]
    assert looks(25) == [19, 25]
    assert looks(4) == [4]


def test_the_estimate_is_never_above_the_exact_rank_on_average_and_hardly_below() -> None:
    gaps = [exact - mean_estimate(exact - 1) for exact in range(1, TWINS + 2)]
    assert min(gaps) > -1e-9
    assert max(gaps) < 0.8  # 0.008 of the twins + 1
    assert max(gaps[20:]) < 0.02


def test_without_records_that_stand_out_the_estimate_has_no_bias() -> None:
    for exact in range(1, TWINS + 2):
        lower = exact - 1
        # of each order that stands out, the walk that goes on
        mean = 0.0
        for (seen, scored), probability in ends(lower, TWINS).items():
            if seen == 0 and scored < TWINS and probability > 0:
                mean += probability * mean_from(lower, scored)
            elif probability > 0:
                mean += probability * estimated_rank(seen, scored, TWINS)
        assert mean == pytest.approx(exact)


def mean_from(lower: int, scored: int) -> float:
    """The mean estimate of a record that goes on after `scored` twins of which none had a lower loss."""
    states: States = {(0, scored): 1.0}
    mean = 0.0
    for done in range(scored, TWINS):
        following: States = defaultdict(float)
        for (seen, _), probability in states.items():
            share = (lower - seen) / (TWINS - done)
            following[seen + 1, done + 1] += probability * share
            following[seen, done + 1] += probability * (1 - share)
        states = {}
        for (seen, place), probability in following.items():
            if place == TWINS or (place in (59, 79) and seen >= ENOUGH):
                mean += probability * estimated_rank(seen, place, TWINS) if probability else 0.0
            else:
                states[seen, place] = probability
    return mean


def test_a_rank_is_exact_where_all_twins_were_scored_and_few_are_lower() -> None:
    assert [estimated_rank(lower, 99, 99) for lower in range(5)] == pytest.approx([1, 2, 3, 4, 5])
    assert [estimated_rank(lower, 19, 19) for lower in range(20)] == pytest.approx(list(range(1, 21)))
    assert estimated_rank(0, 39, 99) == 1
    assert estimated_rank(10, 19, 99) == pytest.approx(1 + 99 * 10 / 19)


def test_the_ranks_of_a_model_that_saw_nothing_have_their_probabilities() -> None:
    expected: dict[int, float] = defaultdict(float)
    mean_scored = 0.0
    for lower in range(TWINS + 1):  # every exact rank is as likely
        for (seen, scored), probability in ends(lower, TWINS).items():
            if probability > 0:
                expected[math.floor(estimated_rank(seen, scored, TWINS) + 0.5)] += probability / (TWINS + 1)
                mean_scored += scored * probability / (TWINS + 1)
    assert never_seen_ranks(TWINS) == pytest.approx(expected)
    assert expected_twins(TWINS) == pytest.approx(mean_scored) == pytest.approx(27.93, abs=0.01)
    assert never_seen_ranks(19) == pytest.approx({rank: 1 / 20 for rank in range(1, 21)})


def test_a_record_beyond_the_first_tenth_is_hardly_ever_taken_for_one_that_stands_out() -> None:
    for lower in range(10, TWINS + 1):
        assert ends(lower, TWINS).get((0, 39), 0.0) < 0.017


@pytest.mark.parametrize("auc", [0.5, 0.65, 0.75, 0.95])
def test_the_mean_rank_is_that_of_all_twins_for_less(auc: float) -> None:
    generator = np.random.default_rng(0)
    shift = math.sqrt(2) * {0.5: 0.0, 0.65: 0.38532, 0.75: 0.67449, 0.95: 1.64485}[auc]  # normal quantiles
    own = generator.normal(shift, 1, 2000)
    lower = np.asarray(generator.normal(0, 1, (2000, TWINS)) > own[:, None], dtype=np.float64)
    stopped = [stopped_rank(row, TWINS) for row in lower]
    exact = 1 + lower.sum(1)
    assert np.mean([rank for rank, _ in stopped]) == pytest.approx(exact.mean(), abs=1.0)
    assert np.std([rank for rank, _ in stopped]) == pytest.approx(exact.std(), rel=0.15)
    assert np.mean([scored for _, scored in stopped]) < 0.6 * TWINS


def test_p_values_of_stopped_ranks_are_no_smaller_than_they_should_be() -> None:
    generator = np.random.default_rng(1)
    trials, count = 1000, 5
    values = []
    for _ in range(trials):
        exact = generator.integers(0, TWINS + 1, size=count)
        orders = [generator.permutation(np.arange(TWINS) < lower).astype(np.float64) for lower in exact]
        values.append(mean_rank_p_value([stopped_rank(order, TWINS)[0] for order in orders], TWINS))
    for level in (0.01, 0.05, 0.25, 0.5):
        assert np.mean(np.array(values) <= level) <= level + 3 * math.sqrt(level * (1 - level) / trials)
    assert np.mean(np.array(values) <= 0.05) >= 0.02
