"""Exposure ranks: by hand, by brute force, and on a model that knows some records and never saw others."""

import copy
import itertools
import math

import numpy as np
import pytest
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from core.demo.people import people
from core.evaluation.attacks.exposure import exposures, mean_rank_p_value
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


def context_of(loaded: Loaded, sets: dict[SetName, list[Record]], **options: object) -> EvalContext:
    return EvalContext(lambda: loaded, sets, training=TRAINING, **options)  # type: ignore[arg-type]


def test_exposures_by_hand() -> None:
    assert exposures(np.array([1.0, 2.0, 50.0, 100.0]), 99).tolist() == pytest.approx(
        [math.log2(100), math.log2(50), 1.0, 0.0]
    )


@pytest.mark.parametrize("count", [1, 2, 3])
def test_the_p_value_is_the_share_of_all_outcomes_with_a_mean_rank_as_low(count: int) -> None:
    outcomes = list(itertools.product(range(1, 6), repeat=count))
    for ranks in outcomes:
        naive = sum(sum(others) <= sum(ranks) for others in outcomes) / len(outcomes)
        assert mean_rank_p_value(ranks, 4) == pytest.approx(naive)


def test_the_p_value_of_one_record_is_its_relative_rank() -> None:
    assert mean_rank_p_value([1.0], 99, exhaustive=True) == pytest.approx(0.01)
    assert mean_rank_p_value([50.5], 99, exhaustive=True) == pytest.approx(0.51)
    assert mean_rank_p_value([100.0], 99, exhaustive=True) == pytest.approx(1.0)
    assert mean_rank_p_value([1.0] * 32, 99, exhaustive=True) == pytest.approx(1e-64)


def test_a_record_that_stands_out_of_39_twins_has_the_p_value_of_39() -> None:
    assert mean_rank_p_value([1.0], 99) == pytest.approx(1 / 40)
    assert mean_rank_p_value([100.0], 99) == pytest.approx(1.0)
    assert mean_rank_p_value([1.0] * 32, 99) == pytest.approx(40.0**-32)


@pytest.mark.parametrize("exhaustive", [False, True])
def test_the_approximate_p_value_of_many_records_is_close_to_the_exact_one(exhaustive: bool) -> None:
    generator = np.random.default_rng(0)
    ranks = generator.integers(1, 91, size=200).astype(float)  # 200 x 100 is computed exactly
    more_ranks = np.append(ranks, 50.0)
    exact = mean_rank_p_value(ranks, 99, exhaustive=exhaustive)
    assert mean_rank_p_value(more_ranks, 99, exhaustive=exhaustive) == pytest.approx(exact, rel=0.15)


def test_p_values_are_uniform_for_a_model_that_saw_nothing() -> None:
    generator = np.random.default_rng(1)
    result = np.array([mean_rank_p_value(generator.integers(1, 101, size=5), 99, exhaustive=True) for _ in range(400)])
    for level in (0.05, 0.25, 0.5):
        assert (result <= level).mean() == pytest.approx(level, abs=3 * math.sqrt(level * (1 - level) / 400))


def test_the_p_value_of_no_ranks_is_an_error() -> None:
    with pytest.raises(ValueError, match="no ranks"):
        mean_rank_p_value([], 99)


def test_exposure_figures_by_hand() -> None:
    result = figures(np.array([1.0, 50.0]), 99, Resamples(0, "x"), exhaustive=True)
    assert result["exposure_rank"].value == pytest.approx(0.255)
    assert result["exposure"].value == pytest.approx((math.log2(100) + 1) / 2)
    assert result["exposure_p"].value == pytest.approx(51 * 50 / 2 / 10_000)  # pairs with a sum of at most 51
    assert result["exposure_p"].records == 2
    half = 12.7062 * 0.49 / math.sqrt(2) / math.sqrt(2)  # of t tables: one degree of freedom, 97.5 %
    assert (result["exposure_rank"].low, result["exposure_rank"].high) == (0.0, 1.0)  # a share of the twins
    assert result["exposure"].high == pytest.approx(result["exposure"].value + half / 0.49 * (math.log2(100) - 1))


def test_memorised_records_stand_out_of_their_twins_and_unseen_records_do_not(
    loaded: Loaded, tiny_model: TinyModel
) -> None:
    result = Exposure(twins=19, records=6).measure(context_of(loaded, tiny_model.sets))
    forget, unseen = result.sets["forget"], result.sets["unseen"]
    assert forget["exposure_rank"].value == pytest.approx(1 / 20)
    assert forget["exposure"].value == pytest.approx(math.log2(20))
    assert forget["exposure_p"].value == pytest.approx(20.0**-6)
    assert 0.2 < unseen["exposure_rank"].value < 0.8
    assert unseen["exposure_p"].value > 0.01
    assert [(cut.what, cut.done, cut.of, cut.reason) for cut in result.cut_short] == [
        ("forget", 6, 8, "records"),
        ("unseen", 6, 16, "records"),
    ]


def test_exposure_ranks_agree_with_losses_computed_one_by_one(loaded: Loaded, tiny_model: TinyModel) -> None:
    sets: dict[SetName, list[Record]] = {
        "forget": tiny_model.sets["unseen"][:2],
        "unseen": tiny_model.sets["unseen"][2:],
    }
    context = context_of(loaded, sets)
    naive = []
    for record in sets["forget"]:
        twins = counterfactuals(record, 19, seed=0, pool=donor_pool(context, common_words(context)))
        losses = [float(cross_entropies(context.statistics([record], label="x"))[0]) for record in (record, *twins)]
        naive.append(sorted(losses).index(losses[0]) + 1)
    result = Exposure(twins=19).measure(context).sets["forget"]["exposure_rank"]
    assert result.value == pytest.approx(sum(naive) / len(naive) / 20)


def test_twins_are_scored_until_the_rank_is_clear(loaded: Loaded, tiny_model: TinyModel) -> None:
    context = context_of(loaded, tiny_model.sets)
    stopped = Exposure(twins=59, records=6).measure(context).sets
    exact = Exposure(twins=59, records=6, exhaustive=True).measure(context).sets
    assert stopped["forget"]["exposure_twins"].value == 39  # none of them is better known
    assert stopped["forget"]["exposure_rank"].value == exact["forget"]["exposure_rank"].value == pytest.approx(1 / 60)
    assert stopped["forget"]["exposure_p"].value == pytest.approx(40.0**-6)
    assert exact["forget"]["exposure_p"].value == pytest.approx(60.0**-6)
    assert stopped["unseen"]["exposure_twins"].value < exact["unseen"]["exposure_twins"].value == 59
    rank = exact["unseen"]["exposure_rank"].value
    assert stopped["unseen"]["exposure_rank"].value == pytest.approx(rank, abs=0.15)


def test_a_model_that_finds_all_texts_alike_ranks_them_by_chance(loaded: Loaded, tiny_model: TinyModel) -> None:
    model = copy.deepcopy(loaded[0])
    with torch.no_grad():
        for weight in model.parameters():
            weight.zero_()
    sets: dict[SetName, list[Record]] = {"forget": people(60, 9), "unseen": tiny_model.sets["unseen"]}
    ranks = Exposure(twins=19, records=None).measure(context_of((model, loaded[1]), sets)).sets["forget"]
    assert ranks["exposure_rank"].value == pytest.approx(0.525, abs=0.05)


def test_a_single_record_has_figures_without_interval_and_a_warning(loaded: Loaded, tiny_model: TinyModel) -> None:
    result = Exposure(twins=19).measure(context_of(loaded, {"forget": tiny_model.sets["forget"][:1]}))
    figure = result.sets["forget"]["exposure_rank"]
    assert (figure.value, figure.low, figure.high, figure.records) == (1 / 20, None, None, 1)
    assert result.sets["forget"]["exposure_p"].value == pytest.approx(1 / 20)
    assert sum("invented" in warning for warning in result.warnings) == 1


def test_records_without_entities_are_left_out_and_counted(loaded: Loaded, tiny_model: TinyModel) -> None:
    plain = Record(text="nothing to see here")
    sets: dict[SetName, list[Record]] = {"forget": [plain, tiny_model.sets["forget"][0]]}
    result = Exposure(twins=19).measure(context_of(loaded, sets))
    assert result.sets["forget"]["exposure_rank"].records == 1
    assert any("1 of 2 forget records" in warning for warning in result.warnings)
    none = Exposure(twins=19).measure(context_of(loaded, {"forget": [plain]}))
    assert none.sets == {}
    assert not any("nothing to see" in warning for warning in [*result.warnings, *none.warnings])


def test_records_beyond_the_time_limit_are_noted_and_not_cached(loaded: Loaded, tiny_model: TinyModel) -> None:
    context = context_of(loaded, tiny_model.sets)
    result = Exposure(twins=19, seconds=1e-9).measure(context)
    assert result.sets == {}
    assert ("forget", 0, 8, "seconds") in [(cut.what, cut.done, cut.of, cut.reason) for cut in result.cut_short]
    assert Exposure(twins=19, records=1).measure(context).sets["forget"]["exposure"].records == 1


def test_donors_are_the_unseen_records_of_the_measuring_half_alone(loaded: Loaded, tiny_model: TinyModel) -> None:
    unseen = people(10, 5)
    context = context_of(loaded, {**tiny_model.sets, "unseen": unseen})
    assert sorted(record.id or "" for record in donor_pool(context, common_words(context)).records) == [
        record.id for record in unseen
    ]


def test_few_unseen_records_are_supplemented_by_invented_values_with_a_warning(loaded: Loaded) -> None:
    def context(count: int) -> EvalContext:
        unseen = [Record(text=f"then {2501 + place} is at home they say") for place in range(count)]
        return context_of(loaded, {"forget": [Record(text="then 7341 is at home they say")], "unseen": unseen})

    few, many = (Exposure(twins=19).measure(context(count)) for count in (6, 19))
    assert few.sets["forget"]["exposure_rank"].records == 1
    assert any("19 twins of 1 of 1 forget records" in warning and "invented" in warning for warning in few.warnings)
    assert many.sets["forget"]["exposure_rank"].records == 1
    assert not any("invented" in warning for warning in many.warnings)


def test_a_rare_value_among_many_unseen_records_leaves_its_record_out(
    loaded: Loaded,
) -> None:
    unseen = [Record(text=f"then {2500 + place % 9} is at home they say") for place in range(19)]
    result = Exposure(twins=19).measure(
        context_of(loaded, {"forget": [Record(text="then 7341 is at home they say")], "unseen": unseen})
    )
    assert "forget" not in result.sets
    assert any("1 of 1 forget records hold too few" in warning for warning in result.warnings)


def test_a_twin_without_scored_tokens_leaves_only_its_record_out(
    loaded: Loaded, tiny_model: TinyModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    context, calls = context_of(loaded, {"forget": tiny_model.sets["forget"][:2]}), itertools.count()
    encode = context.encode

    def first_mute(records: list[Record]) -> object:
        if next(calls) == 0:
            raise CoreError("no_scored_tokens", "too short")
        return encode(records)

    monkeypatch.setattr(context, "encode", first_mute)
    result = Exposure(twins=19).measure(context)
    assert result.sets["forget"]["exposure_rank"].records == 1
    assert any("1 of 2 forget records hold too few" in warning for warning in result.warnings)
