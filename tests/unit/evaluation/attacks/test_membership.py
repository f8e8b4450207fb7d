"""Membership attacks: scores by hand, AUC and rates against their definitions, pair by pair."""

import zlib
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from core.evaluation.attacks.membership import SHARES, _Ranking, evaluate_attack, scores
from core.evaluation.measurements.membership import Membership
from core.evaluation.stats.auc import joint_interval
from core.evaluation.stats.bootstrap import Resamples
from core.lm.token_statistics import TokenStatistics
from core.schema.record import Message, Record
from tests.unit.evaluation.statistics_samples import context_of, random_statistics, statistics

TEXT = Record(text="Zorvek lives at 12 Ulkwen Lane. Ωmega!")
few_values = st.lists(st.integers(-3, 3), min_size=1, max_size=12)
still = settings(derandomize=True, deadline=None, max_examples=150)


def naive_auc(members: list[float], others: list[float]) -> float:
    wins = sum(1.0 if member > other else 0.5 if member == other else 0.0 for member in members for other in others)
    return wins / (len(members) * len(others))


def naive_rate(members: list[float], others: list[float], limit: float) -> float:
    """The best true positive rate of any threshold whose false positive rate is within the limit."""
    best = 0.0
    for threshold in [*members, *others]:
        if sum(other >= threshold for other in others) / len(others) <= limit:
            best = max(best, sum(member >= threshold for member in members) / len(members))
    return best


def curve(members: list[float], others: list[float]) -> dict[str, float]:
    ranking = _Ranking.from_scores(np.array(members, float), np.array(others, float))
    result = ranking.figures(np.ones((1, len(members))), np.ones((1, len(others))))
    return {name: float(value[0]) for name, value in result.items()}


@still
@given(members=few_values, others=few_values)
def test_the_auc_counts_pairs_and_halves_ties(members: list[float], others: list[float]) -> None:
    assert curve(members, others)["auc"] == pytest.approx(naive_auc(members, others))


@still
@given(members=few_values, others=st.lists(st.integers(-20, 20), min_size=1, max_size=60))
def test_rates_are_those_of_the_best_threshold_within_the_limit(members: list[float], others: list[float]) -> None:
    result = curve(members, others)
    assert result["tpr_at_1_fpr"] == pytest.approx(naive_rate(members, others, 0.01))
    assert result["tpr_at_5_fpr"] == pytest.approx(naive_rate(members, others, 0.05))


def test_exactly_five_in_a_hundred_false_positives_are_within_five_percent() -> None:
    others = [float(value) for value in range(100)]
    assert curve([94.5], others)["tpr_at_5_fpr"] == 1.0
    assert curve([93.5], others)["tpr_at_5_fpr"] == 0.0
    assert curve([98.5], others)["tpr_at_1_fpr"] == 1.0


@still
@given(members=few_values, others=few_values, seed=st.integers(0, 1000))
def test_a_resample_counts_like_a_list_in_which_records_repeat(
    members: list[float], others: list[float], seed: int
) -> None:
    generator = np.random.default_rng(seed)
    member_counts = generator.multinomial(len(members), [1 / len(members)] * len(members))
    other_counts = generator.multinomial(len(others), [1 / len(others)] * len(others))
    ranking = _Ranking.from_scores(np.array(members, float), np.array(others, float))
    result = ranking.figures(member_counts[None].astype(float), other_counts[None].astype(float))
    repeated = np.repeat(members, member_counts).tolist(), np.repeat(others, other_counts).tolist()
    assert result["auc"][0] == pytest.approx(naive_auc(*repeated))
    assert result["tpr_at_5_fpr"][0] == pytest.approx(naive_rate(*repeated, 0.05))


def test_the_auc_agrees_with_scikit_learn_and_is_signed() -> None:
    generator = np.random.default_rng(1)
    members, others = generator.normal(-1.0, 1.0, 50), generator.normal(0.0, 1.0, 70)
    result = evaluate_attack(members, others, Resamples(0, "membership"))
    truth = roc_auc_score([1] * 50 + [0] * 70, np.concatenate([members, others]))
    assert result.auc.value == pytest.approx(truth)
    assert result.auc.value < 0.5
    assert result.auc.records == 50


def test_the_interval_of_the_auc_has_its_theoretical_width() -> None:
    generator = np.random.default_rng(3)
    result = evaluate_attack(generator.normal(size=200), generator.normal(size=200), Resamples(0, "membership"))
    assert result.auc.low is not None
    assert result.auc.high is not None
    # no difference: variance of the Mann-Whitney statistic, (m + n + 1) / (12 m n)
    assert result.auc.high - result.auc.low == pytest.approx(2 * 1.96 * (401 / (12 * 200 * 200)) ** 0.5, rel=0.1)
    assert result.auc.low < 0.5 < result.auc.high


def test_the_interval_of_the_auc_stays_wide_for_few_perfectly_separated_records() -> None:
    result = evaluate_attack(np.arange(5.0) + 10, np.arange(5.0), Resamples(0, "membership"))
    assert result.auc.value == result.auc.high == 1.0
    assert result.auc.low is not None
    assert result.auc.low < 0.7


def test_the_joint_interval_is_corrected_for_the_number_of_judged_attacks() -> None:
    generator = np.random.default_rng(4)
    members, others = generator.normal(0.3, 1.0, 60), generator.normal(size=80)
    joint = evaluate_attack(members, others, Resamples(0, "membership", count=2)).joint
    alone = evaluate_attack(members, others, Resamples(0, "membership", count=2), judged=1).joint
    assert joint == tuple(map(float, joint_interval(members, others, level=0.99)))
    assert alone == tuple(map(float, joint_interval(members, others, level=0.95)))
    assert joint is not None
    assert alone is not None
    assert joint[0] < alone[0] < naive_auc(members.tolist(), others.tolist()) < alone[1] < joint[1]


def test_the_membership_measurement_passes_on_the_number_of_judged_attacks() -> None:
    members, others = np.linspace(0.2, 1.0, 30), np.linspace(0.0, 0.9, 40)
    context = context_of({"loss": (members, others), "zlib": (members, others)})
    result = Membership(judged=2).measure(context)
    twin = evaluate_attack(members, others, context.resamples("membership"), judged=2)
    assert result.attacks == {"loss": twin, "zlib": twin}
    assert result.warnings == []


def test_a_single_record_still_gives_an_auc_with_its_wide_interval() -> None:
    result = evaluate_attack(np.array([3.0]), np.arange(30.0), Resamples(0, "membership"))
    assert result.auc.value == pytest.approx(3.5 / 30)
    assert result.auc.high is not None
    assert result.auc.high > 0.6
    assert (result.tpr_at_5_fpr.low, result.tpr_at_5_fpr.high) == (None, None)


@still
@given(members=few_values, others=few_values)
def test_the_roc_ascends_between_the_corners_and_holds_the_auc(members: list[float], others: list[float]) -> None:
    roc = evaluate_attack(np.array(members, float), np.array(others, float), Resamples(0, "membership", count=2)).roc
    assert roc[0] == (0.0, 0.0)
    assert roc[-1] == pytest.approx((1.0, 1.0))
    area = 0.0
    for (x0, y0), (x1, y1) in pairwise(roc):
        assert x1 >= x0
        assert y1 >= y0
        area += (x1 - x0) * (y0 + y1) / 2
    assert area == pytest.approx(naive_auc(members, others))


def test_the_roc_has_at_most_two_hundred_points() -> None:
    generator = np.random.default_rng(3)
    roc = evaluate_attack(
        generator.normal(size=900), generator.normal(size=900), Resamples(0, "membership", count=2)
    ).roc
    assert 150 < len(roc) <= 200


def test_scores_of_a_record_worked_by_hand() -> None:
    tokens = TokenStatistics(
        log_probability=np.array([-1.0, -4.0, -2.0, -3.0, -0.5]),
        correct=np.zeros(5, bool),
        mean=np.array([-1.0, -2.0, -3.0, -1.0, -0.5]),
        deviation=np.array([1.0, 2.0, 0.5, 0.0, 1.0]),
    )
    result = {name: float(value[0]) for name, value in scores([tokens], [TEXT]).items()}
    assert result["loss"] == pytest.approx(-10.5 / 5)
    assert result["zlib"] == pytest.approx(-10.5 / 5 / len(zlib.compress(str(TEXT.text).encode())))
    assert result["min_k_5"] == -4.0  # at least one token
    assert result["min_k_40"] == pytest.approx((-4 - 3) / 2)
    assert result["min_k_50"] == pytest.approx((-4 - 3) / 2)  # floor(2.5)
    assert result["min_k_60"] == pytest.approx((-4 - 3 - 2) / 3)
    assert result["min_k_100"] == pytest.approx(result["loss"])
    # standardised: 0, -1, 2, -2 / 1e-6, 0
    assert result["min_k++_20"] == pytest.approx(-2e6)
    assert result["min_k++_40"] == pytest.approx((-2e6 - 1) / 2)
    assert result["min_k++_100"] == pytest.approx((-2e6 + 1) / 5)


def test_the_last_scored_token_counts_for_min_k() -> None:
    result = scores([statistics([0.9, 0.9, 0.9, 0.001])], [TEXT])
    assert result["min_k_20"][0] == pytest.approx(np.log(0.001))


def test_attack_scores_agree_with_loops_over_random_records() -> None:
    records = random_statistics(np.random.default_rng(11), 40)
    result = scores(records, [TEXT] * 40)
    assert set(result) == {"loss", "zlib"} | {f"{name}_{share}" for name in ("min_k", "min_k++") for share in SHARES}
    for number, tokens in enumerate(records):
        count = len(tokens.log_probability)
        for share in SHARES:
            keep = max(1, (share * count) // 100)
            plain = sorted(tokens.log_probability)[:keep]
            assert result[f"min_k_{share}"][number] == pytest.approx(sum(plain) / keep)
            z = [
                (p - m) / max(d, 1e-6)
                for p, m, d in zip(tokens.log_probability, tokens.mean, tokens.deviation, strict=True)
            ]
            assert result[f"min_k++_{share}"][number] == pytest.approx(sum(sorted(z)[:keep]) / keep)


def test_a_more_familiar_record_scores_higher_on_every_attack() -> None:
    familiar, strange = statistics([0.9] * 20), statistics([0.1] * 20)
    result = scores([familiar, strange], [TEXT, TEXT])
    assert all(value[0] > value[1] for value in result.values())


def test_the_zlib_attack_compresses_the_scored_text() -> None:
    turns = [Message(role="user", content="Who?"), Message(role="assistant", content="Yav.")]
    records = {
        "Zorvek lives at 12 Ulkwen Lane. Ωmega!": TEXT,
        "Zorvek.": Record(prompt="Who?", completion="Zorvek."),
        "Yav.": Record(messages=turns),
    }
    for text, record in records.items():
        result = scores([statistics([0.5])], [record])
        assert result["zlib"][0] == pytest.approx(result["loss"][0] / len(zlib.compress(text.encode())))
