"""Ranks among twins: by hand, by brute force, and on a model that knows some records and never saw others."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from core.demo.people import people
from core.evaluation.attacks.exposure import exposures, mean_rank_p_value, rank
from core.evaluation.eval_context import EvalContext
from core.evaluation.measurements.exposure import Exposure, figures
from core.evaluation.scores.likelihood import cross_entropies
from core.evaluation.stats.bootstrap import Resamples
from core.evaluation.text.counterfactuals import counterfactuals
from core.evaluation.text.record_context import common_words, donor_pool
from core.lm.errors import CoreError
from core.schema.evaluation import SetName
from core.schema.record import Record
from tests.tiny_model import TinyModel
from tests.unit.evaluation.test_runner import TRAINING

Loaded = tuple[PreTrainedModel, PreTrainedTokenizerBase]
still = settings(derandomize=True, deadline=None, max_examples=60)


def bench_of(loaded: Loaded, sets: dict[SetName, list[Record]], **more: object) -> EvalContext:
    return EvalContext(lambda: loaded, sets, training=TRAINING, **more)  # type: ignore[arg-type]


@still
@given(loss=st.integers(0, 5), others=st.lists(st.integers(0, 5), min_size=1, max_size=12))
def test_the_rank_is_the_mean_place_in_every_order_of_ties(loss: int, others: list[int]) -> None:
    places = [
        1 + sum(other < loss for other in others) + tie for tie in range(sum(other == loss for other in others) + 1)
    ]
    assert rank(float(loss), np.array(others, float)) == pytest.approx(sum(places) / len(places))


def test_exposures_by_hand() -> None:
    assert exposures(np.array([1.0, 2.0, 50.0, 100.0]), 99).tolist() == pytest.approx(
        [math.log2(100), math.log2(50), 1.0, 0.0]
    )


@pytest.mark.parametrize("count", [1, 2, 3])
def test_the_chance_is_the_share_of_all_ranks_that_are_as_low(count: int) -> None:
    everything = list(itertools.product(range(1, 6), repeat=count))
    for total in range(count, 5 * count + 1):
        naive = sum(sum(one) <= total for one in everything) / len(everything)
        assert mean_rank_p_value([total / count] * count, 4) == pytest.approx(naive)


def test_the_chance_of_one_record_is_its_rank() -> None:
    assert mean_rank_p_value([1.0], 99) == pytest.approx(0.01)
    assert mean_rank_p_value([50.5], 99) == pytest.approx(0.51)  # a tie is not to its advantage
    assert mean_rank_p_value([100.0], 99) == pytest.approx(1.0)
    assert mean_rank_p_value([1.0] * 32, 99) == pytest.approx(1e-64)


def test_many_records_have_nearly_the_exact_chance() -> None:
    generator = np.random.default_rng(0)
    ranks = generator.integers(1, 91, size=200).astype(float)  # 200 x 100 is computed exactly
    more = np.append(ranks, 50.0)
    assert mean_rank_p_value(more, 99) == pytest.approx(mean_rank_p_value(ranks, 99), rel=0.15)


def test_the_chance_is_uniform_where_nothing_was_seen() -> None:
    generator = np.random.default_rng(1)
    found = np.array([mean_rank_p_value(generator.integers(1, 101, size=5), 99) for _ in range(400)])
    for level in (0.05, 0.25, 0.5):
        assert (found <= level).mean() == pytest.approx(level, abs=3 * math.sqrt(level * (1 - level) / 400))


def test_no_ranks_have_no_mean() -> None:
    with pytest.raises(ValueError, match="no ranks"):
        mean_rank_p_value([], 99)


def test_figures_by_hand() -> None:
    found = figures(np.array([1.0, 50.0]), 99, Resamples(0, "x"))
    assert found["exposure_rank"].value == pytest.approx(0.255)
    assert found["exposure"].value == pytest.approx((math.log2(100) + 1) / 2)
    assert found["exposure_p"].value == pytest.approx(51 * 50 / 2 / 10_000)  # pairs with a sum of at most 51
    assert found["exposure_p"].records == 2
    half = 12.7062 * 0.49 / math.sqrt(2) / math.sqrt(2)  # of t tables: one degree of freedom, 97.5 %
    assert (found["exposure_rank"].low, found["exposure_rank"].high) == (0.0, 1.0)  # a share of the twins
    assert found["exposure"].high == pytest.approx(found["exposure"].value + half / 0.49 * (math.log2(100) - 1))


def test_what_is_known_by_heart_stands_out_and_what_was_never_seen_does_not(
    loaded: Loaded, tiny_model: TinyModel
) -> None:
    found = Exposure(twins=19, records=6).measure(bench_of(loaded, tiny_model.sets))
    forget, unseen = found.sets["forget"], found.sets["unseen"]
    assert forget["exposure_rank"].value == pytest.approx(1 / 20)
    assert forget["exposure"].value == pytest.approx(math.log2(20))
    assert forget["exposure_p"].value == pytest.approx(20.0**-6)
    assert 0.2 < unseen["exposure_rank"].value < 0.8
    assert unseen["exposure_p"].value > 0.01
    assert [(one.what, one.done, one.of, one.reason) for one in found.cut_short] == [
        ("forget", 6, 8, "records"),
        ("unseen", 6, 16, "records"),
    ]


def test_ranks_are_those_of_losses_computed_one_by_one(loaded: Loaded, tiny_model: TinyModel) -> None:
    sets: dict[SetName, list[Record]] = {
        "forget": tiny_model.sets["unseen"][:2],
        "unseen": tiny_model.sets["unseen"][2:],
    }
    context = bench_of(loaded, sets)
    naive = []
    for record in sets["forget"]:
        made = counterfactuals(record, 19, seed=0, pool=donor_pool(context, common_words(context)))
        losses = [float(cross_entropies(context.statistics([one], label="x"))[0]) for one in (record, *made)]
        naive.append(sorted(losses).index(losses[0]) + 1)
    found = Exposure(twins=19).measure(context).sets["forget"]["exposure_rank"]
    assert found.value == pytest.approx(sum(naive) / len(naive) / 20)


def test_one_record_alone_has_figures_without_interval_and_a_doubt(loaded: Loaded, tiny_model: TinyModel) -> None:
    found = Exposure(twins=19).measure(bench_of(loaded, {"forget": tiny_model.sets["forget"][:1]}))
    figure = found.sets["forget"]["exposure_rank"]
    assert (figure.value, figure.low, figure.high, figure.records) == (1 / 20, None, None, 1)
    assert found.sets["forget"]["exposure_p"].value == pytest.approx(1 / 20)
    assert sum("invented" in warning for warning in found.warnings) == 1


def test_records_that_hold_nothing_specific_are_counted_and_left_out(loaded: Loaded, tiny_model: TinyModel) -> None:
    plain = Record(text="nothing to see here")
    sets: dict[SetName, list[Record]] = {"forget": [plain, tiny_model.sets["forget"][0]]}
    found = Exposure(twins=19).measure(bench_of(loaded, sets))
    assert found.sets["forget"]["exposure_rank"].records == 1
    assert any("1 of 2 forget records" in warning for warning in found.warnings)
    none = Exposure(twins=19).measure(bench_of(loaded, {"forget": [plain]}))
    assert none.sets == {}
    assert not any("nothing to see" in warning for warning in [*found.warnings, *none.warnings])


def test_what_the_time_is_too_short_for_is_said_and_not_kept(loaded: Loaded, tiny_model: TinyModel) -> None:
    context = bench_of(loaded, tiny_model.sets)
    found = Exposure(twins=19, seconds=1e-9).measure(context)
    assert found.sets == {}
    assert ("forget", 0, 8, "seconds") in [(one.what, one.done, one.of, one.reason) for one in found.cut_short]
    assert Exposure(twins=19, records=1).measure(context).sets["forget"]["exposure"].records == 1


def test_values_come_from_the_unseen_records_that_measure_and_from_no_others(
    loaded: Loaded, tiny_model: TinyModel
) -> None:
    unseen = people(10, 5)
    context = bench_of(loaded, {**tiny_model.sets, "unseen": unseen})
    assert sorted(one.id or "" for one in donor_pool(context, common_words(context)).records) == [
        one.id for one in unseen
    ]


def test_few_unseen_records_are_helped_out_by_invented_values_and_it_is_said(loaded: Loaded) -> None:
    def context(count: int) -> EvalContext:
        unseen = [Record(text=f"then {2501 + place} is at home they say") for place in range(count)]
        return bench_of(loaded, {"forget": [Record(text="then 7341 is at home they say")], "unseen": unseen})

    few, many = (Exposure(twins=19).measure(context(count)) for count in (6, 19))
    assert few.sets["forget"]["exposure_rank"].records == 1
    assert any("19 twins of 1 of 1 forget records" in one and "invented" in one for one in few.warnings)
    assert many.sets["forget"]["exposure_rank"].records == 1
    assert not any("invented" in one for one in many.warnings)


def test_what_of_many_unseen_records_has_few_values_is_left_out_rather_than_held_against_invented_ones(
    loaded: Loaded,
) -> None:
    unseen = [Record(text=f"then {2500 + place % 9} is at home they say") for place in range(19)]
    found = Exposure(twins=19).measure(
        bench_of(loaded, {"forget": [Record(text="then 7341 is at home they say")], "unseen": unseen})
    )
    assert "forget" not in found.sets
    assert any("1 of 1 forget records hold too few" in one for one in found.warnings)


def test_a_twin_without_a_token_to_score_leaves_its_record_out_and_ends_nothing(
    loaded: Loaded, tiny_model: TinyModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    context, calls = bench_of(loaded, {"forget": tiny_model.sets["forget"][:2]}), itertools.count()
    statistics = context.statistics

    def first_mute(records: list[Record], *, label: str) -> object:
        if next(calls) == 0:
            raise CoreError("no_scored_tokens", "too short")
        return statistics(records, label=label)

    monkeypatch.setattr(context, "statistics", first_mute)
    found = Exposure(twins=19).measure(context)
    assert found.sets["forget"]["exposure_rank"].records == 1
    assert any("1 of 2 forget records hold too few" in one for one in found.warnings)
