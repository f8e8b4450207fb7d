"""PrivLeak: against its formula, its interval resample by resample, and where it is not defined."""

import numpy as np
import pytest

from core.evaluation.attacks.membership import bootstrap_auc
from core.evaluation.attacks.privleak import privleak
from core.evaluation.measurements.privleak import PrivLeak
from core.evaluation.stats.bootstrap import Resamples, Values
from tests.unit.evaluation.made import bench_of

FEW = Resamples(3, "membership", count=60)
"""Resamples."""


def scores(members: list[float], others: list[float]) -> tuple[Values, Values]:
    return np.array(members, float), np.array(others, float)


def by_chance(seed: int, count: int, shift: float) -> tuple[Values, Values]:
    generator = np.random.default_rng(seed)
    return generator.normal(shift, 1.0, count), generator.normal(size=count)


def naive_auc(members: Values, others: Values) -> float:
    wins = sum(1.0 if x > y else 0.5 if x == y else 0.0 for x in members for y in others)
    return wins / (len(members) * len(others))


def drawn(resamples: Resamples, name: str, records: int) -> list[list[int]]:
    counts = next(Resamples(resamples.seed, f"membership/{name}", resamples.count).blocks(records, rows=9999))
    return [[place for place, times in enumerate(row) for _ in range(int(times))] for row in counts]


@pytest.mark.parametrize(
    ("members", "others", "value"),
    [
        ([3, 2], [1, 0], -100.0),  # AUC 1: all of it is still known
        ([1, 0], [1, 0], 0.0),
        ([3, 0], [1, 2], 0.0),
        ([3, 1], [2, 0], -50.0),  # AUC 3/4
        ([0, 1], [2, 3], 100.0),  # AUC 0: it stands out as unknown
    ],
)
def test_without_a_retrained_model_half_stands_for_its_auc(
    members: list[float], others: list[float], value: float
) -> None:
    found = privleak(scores(members, others), None, FEW)
    assert found is not None
    assert found.value == pytest.approx(value)


def test_with_a_retrained_model_its_auc_is_what_is_compared_to() -> None:
    # AUC 1/4 against 3/4: (3/4 - 1/4) / (1/4)
    found = privleak(scores([2, 0], [3, 1]), scores([3, 1], [2, 0]), FEW)
    assert found is not None
    assert found.value == pytest.approx(200.0)
    assert found.records == 2


def test_it_is_undefined_where_the_retrained_models_auc_is_one() -> None:
    assert privleak(scores([2, 0], [3, 1]), scores([3, 2], [1, 0]), FEW) is None


@pytest.mark.parametrize("count", [8, 40])
def test_without_a_retrained_model_the_interval_is_the_aucs_own(count: int) -> None:
    members, others = by_chance(1, count, 0.5)
    found, of_auc = privleak((members, others), None, FEW), bootstrap_auc(members, others, FEW)[0]
    assert found is not None
    assert of_auc.low is not None
    assert of_auc.high is not None
    assert found.low == pytest.approx(100 * (0.5 - of_auc.high) / 0.5)
    assert found.high == pytest.approx(100 * (0.5 - of_auc.low) / 0.5)


def test_with_a_retrained_model_both_aucs_come_from_the_same_resamples() -> None:
    own, retrained = by_chance(1, 24, 0.5), by_chance(2, 24, 0.2)
    found = privleak(own, retrained, FEW)
    leaks = []
    for members, others in zip(drawn(FEW, "members", 24), drawn(FEW, "others", 24), strict=True):
        a, b = (naive_auc(one[0][members], one[1][others]) for one in (own, retrained))
        leaks.append(100 * ((1 - a) - (1 - b)) / (1 - b))
    assert found is not None
    assert found.low == pytest.approx(np.quantile(leaks, 0.025))
    assert found.high == pytest.approx(np.quantile(leaks, 0.975))


def test_a_model_against_itself_differs_by_nothing_however_the_records_fall() -> None:
    own = by_chance(1, 24, 0.5)
    found = privleak(own, own, FEW)
    assert found is not None
    assert (found.value, found.low, found.high) == pytest.approx((0.0, 0.0, 0.0))


def test_few_records_against_themselves_are_still_not_called_certain() -> None:
    own = by_chance(1, 5, 0.0)
    found = privleak(own, own, FEW)
    assert found is not None
    assert found.low is not None
    assert found.high is not None
    assert found.low < -30
    assert found.high > 30


def test_there_is_no_interval_without_an_end() -> None:
    retrained = scores([5, 6, 7], [1, 2, 5.5])  # AUC 8/9, and 1 in many resamples
    found = privleak(scores([0, 3, 1.5], [1, 2, 5.5]), retrained, FEW)
    assert found is not None
    assert np.isfinite(found.value)
    assert (found.low, found.high) == (None, None)


def test_every_attack_of_the_membership_measurement_has_one() -> None:
    own, retrained = by_chance(1, 30, 0.5), by_chance(2, 30, 0.2)
    context = bench_of({"loss": own, "zlib": own}, retrained={"loss": retrained, "zlib": retrained})
    found = PrivLeak().measure(context)
    assert set(found.across) == {"privleak_loss", "privleak_zlib"}
    assert found.across["privleak_loss"] == privleak(own, retrained, context.resamples("membership"))
    assert found.notes == dict.fromkeys(found.across, "AUC_ref: the retrained model's own")
    assert found.warnings == []


def test_without_a_retrained_model_every_attack_still_has_one() -> None:
    own = by_chance(1, 30, 0.5)
    context = bench_of({"loss": own})
    found = PrivLeak().measure(context)
    assert found.across == {"privleak_loss": privleak(own, None, context.resamples("membership"))}
    assert found.notes == {"privleak_loss": "AUC_ref: 0.5, for want of a retrained model"}


def test_what_is_undefined_or_has_no_interval_is_said() -> None:
    own, apart = scores([0, 3, 1.5], [1, 2, 5.5]), scores([5, 6, 7], [1, 2, 3])
    near = scores([5, 6, 7], [1, 2, 5.5])
    found = PrivLeak().measure(bench_of({"loss": own, "zlib": own}, retrained={"loss": apart, "zlib": near}))
    assert set(found.across) == {"privleak_zlib"}
    assert found.warnings == [
        "privleak: undefined where the retrained model's own AUC is 1: loss",
        "privleak: no interval where the retrained model's AUC reaches 1 in many resamples",
    ]
