"""PrivLeak: against its formula, its interval resample by resample, and where it is not defined."""

import numpy as np
import pytest

from core.evaluation.attacks.membership import bootstrap_auc
from core.evaluation.attacks.privleak import privleak
from core.evaluation.measurements.privleak import PrivLeak
from core.evaluation.stats.bootstrap import Resamples, Values
from tests.unit.evaluation.statistics_samples import context_of

FEW = Resamples(3, "membership", count=60)
"""Resamples."""


def scores(members: list[float], non_members: list[float]) -> tuple[Values, Values]:
    return np.array(members, float), np.array(non_members, float)


def by_chance(seed: int, count: int, shift: float) -> tuple[Values, Values]:
    generator = np.random.default_rng(seed)
    return generator.normal(shift, 1.0, count), generator.normal(size=count)


def naive_auc(members: Values, non_members: Values) -> float:
    wins = sum(1.0 if x > y else 0.5 if x == y else 0.0 for x in members for y in non_members)
    return wins / (len(members) * len(non_members))


def drawn(resamples: Resamples, name: str, records: int) -> list[list[int]]:
    counts = next(Resamples(resamples.seed, f"membership/{name}", resamples.count).blocks(records, rows=9999))
    return [[place for place, times in enumerate(row) for _ in range(int(times))] for row in counts]


@pytest.mark.parametrize(
    ("members", "non_members", "value"),
    [
        ([3, 2], [1, 0], -100.0),  # AUC 1: all of it is still known
        ([1, 0], [1, 0], 0.0),
        ([3, 0], [1, 2], 0.0),
        ([3, 1], [2, 0], -50.0),  # AUC 3/4
        ([0, 1], [2, 3], 100.0),  # AUC 0: it stands out as unknown
    ],
)
def test_privleak_without_a_retrained_model_uses_an_auc_ref_of_one_half(
    members: list[float], non_members: list[float], value: float
) -> None:
    result = privleak(scores(members, non_members), None, FEW)
    assert result is not None
    assert result.value == pytest.approx(value)


def test_privleak_with_a_retrained_model_uses_its_auc() -> None:
    # AUC 1/4 against 3/4: (3/4 - 1/4) / (1/4)
    result = privleak(scores([2, 0], [3, 1]), scores([3, 1], [2, 0]), FEW)
    assert result is not None
    assert result.value == pytest.approx(200.0)
    assert result.records == 2


def test_privleak_is_undefined_if_the_retrained_models_auc_is_one() -> None:
    assert privleak(scores([2, 0], [3, 1]), scores([3, 2], [1, 0]), FEW) is None


@pytest.mark.parametrize("count", [8, 40])
def test_the_interval_of_privleak_without_a_retrained_model_is_the_aucs_own(count: int) -> None:
    members, non_members = by_chance(1, count, 0.5)
    result, of_auc = privleak((members, non_members), None, FEW), bootstrap_auc(members, non_members, FEW)[0]
    assert result is not None
    assert of_auc.low is not None
    assert of_auc.high is not None
    assert result.low == pytest.approx(100 * (0.5 - of_auc.high) / 0.5)
    assert result.high == pytest.approx(100 * (0.5 - of_auc.low) / 0.5)


def test_the_interval_of_privleak_with_a_retrained_model_uses_the_same_resamples_for_both() -> None:
    own, retrained = by_chance(1, 24, 0.5), by_chance(2, 24, 0.2)
    result = privleak(own, retrained, FEW)
    leaks = []
    for members, non_members in zip(drawn(FEW, "members", 24), drawn(FEW, "others", 24), strict=True):
        a, b = (naive_auc(scored[0][members], scored[1][non_members]) for scored in (own, retrained))
        leaks.append(100 * ((1 - a) - (1 - b)) / (1 - b))
    assert result is not None
    assert result.low == pytest.approx(np.quantile(leaks, 0.025))
    assert result.high == pytest.approx(np.quantile(leaks, 0.975))


def test_privleak_of_a_model_against_itself_is_zero_in_every_resample() -> None:
    own = by_chance(1, 24, 0.5)
    result = privleak(own, own, FEW)
    assert result is not None
    assert (result.value, result.low, result.high) == pytest.approx((0.0, 0.0, 0.0))


def test_the_interval_of_privleak_stays_wide_for_few_records_against_themselves() -> None:
    own = by_chance(1, 5, 0.0)
    result = privleak(own, own, FEW)
    assert result is not None
    assert result.low is not None
    assert result.high is not None
    assert result.low < -30
    assert result.high > 30


def test_privleak_has_no_interval_if_it_would_be_infinite() -> None:
    retrained = scores([5, 6, 7], [1, 2, 5.5])  # AUC 8/9, and 1 in many resamples
    result = privleak(scores([0, 3, 1.5], [1, 2, 5.5]), retrained, FEW)
    assert result is not None
    assert np.isfinite(result.value)
    assert (result.low, result.high) == (None, None)


def test_every_membership_attack_has_a_privleak() -> None:
    own, retrained = by_chance(1, 30, 0.5), by_chance(2, 30, 0.2)
    context = context_of({"loss": own, "zlib": own}, retrained={"loss": retrained, "zlib": retrained})
    result = PrivLeak().measure(context)
    assert set(result.across) == {"privleak_loss", "privleak_zlib"}
    assert result.across["privleak_loss"] == privleak(own, retrained, context.resamples("membership"))
    assert result.notes == dict.fromkeys(result.across, "AUC_ref: the retrained model's own")
    assert result.warnings == []


def test_every_membership_attack_has_a_privleak_without_a_retrained_model() -> None:
    own = by_chance(1, 30, 0.5)
    context = context_of({"loss": own})
    result = PrivLeak().measure(context)
    assert result.across == {"privleak_loss": privleak(own, None, context.resamples("membership"))}
    assert result.notes == {"privleak_loss": "AUC_ref: 0.5, for want of a retrained model"}


def test_an_undefined_privleak_and_a_missing_interval_give_a_warning() -> None:
    own, apart = scores([0, 3, 1.5], [1, 2, 5.5]), scores([5, 6, 7], [1, 2, 3])
    near = scores([5, 6, 7], [1, 2, 5.5])
    result = PrivLeak().measure(context_of({"loss": own, "zlib": own}, retrained={"loss": apart, "zlib": near}))
    assert set(result.across) == {"privleak_zlib"}
    assert result.warnings == [
        "privleak: undefined where the retrained model's own AUC is 1: loss",
        "privleak: no interval where the retrained model's AUC reaches 1 in many resamples",
    ]
