"""Perplexity, accuracy, probability: worked by hand."""

import math

import numpy as np
import pytest

from core.evaluation.measurements import likelihood as measurement
from core.evaluation.record_scores import columns_from_statistics
from core.evaluation.scores import likelihood
from core.evaluation.stats.bootstrap import Resamples
from core.lm.token_statistics import TokenStatistics
from core.schema.evaluation import Figure
from core.schema.record import Record
from tests.unit.evaluation.statistics_samples import random_statistics, statistics

# CE: ln 2 (two tokens at 1/2), ln 8 / 4 (four tokens: 1/8 and certainty)
RECORDS = [statistics([0.5, 0.5], [True, False]), statistics([1.0, 1.0, 0.125, 1.0], [True, True, False, True])]


def set_figures(records: list[TokenStatistics], resamples: Resamples) -> dict[str, Figure]:
    texts = [Record(text="some text") for _ in records]
    return measurement.figures(columns_from_statistics(records, texts), resamples)


def figures() -> dict[str, float]:
    return {name: figure.value for name, figure in set_figures(RECORDS, Resamples(0, "forget")).items()}


def test_perplexity_is_of_the_mean_over_records() -> None:
    assert figures()["perplexity"] == pytest.approx(math.exp((math.log(2) + math.log(8) / 4) / 2))


def test_perplexity_tokens_is_of_the_mean_over_tokens() -> None:
    assert figures()["perplexity_tokens"] == pytest.approx(math.exp((2 * math.log(2) + math.log(8)) / 6))


def test_accuracy_is_the_mean_of_the_records_shares() -> None:
    assert figures()["accuracy"] == pytest.approx((1 / 2 + 3 / 4) / 2)


def test_exact_memorization_is_accuracy_under_the_fields_name() -> None:
    assert figures()["exact_memorization"] == figures()["accuracy"]


def test_probability_is_the_mean_of_geometric_means() -> None:
    assert figures()["probability"] == pytest.approx((1 / 2 + 8 ** (-1 / 4)) / 2)


def test_likelihood_figures_agree_with_loops_over_random_records() -> None:
    records = random_statistics(np.random.default_rng(5), 30)
    losses = [-sum(record.log_probability) / len(record.log_probability) for record in records]
    tokens = [len(record.log_probability) for record in records]
    result = set_figures(records, Resamples(0, "forget"))
    assert result["perplexity"].value == pytest.approx(math.exp(sum(losses) / 30))
    total = sum(loss * count for loss, count in zip(losses, tokens, strict=True))
    assert result["perplexity_tokens"].value == pytest.approx(math.exp(total / sum(tokens)))
    assert result["probability"].value == pytest.approx(sum(math.exp(-loss) for loss in losses) / 30)
    assert result["perplexity"].records == 30


def test_a_wrecked_models_perplexity_stays_a_number() -> None:
    assert np.isfinite(likelihood.perplexity(np.array([5000.0]))).all()
    assert likelihood.perplexity(np.array([3.0]))[0] == pytest.approx(math.exp(3))


def test_the_highest_extraction_strength_is_known_exactly() -> None:
    columns = {name: np.array([0.1, 0.7, 0.2]) for name in ("loss", "accuracy", "probability", "extraction_strength")}
    result = measurement.figures({**columns, "tokens": np.ones(3)}, Resamples(0, "a"))["extraction_strength_highest"]
    assert (result.value, result.low, result.high, result.records) == (0.7, 0.7, 0.7, 3)
