"""Token statistics made by hand or by chance, so that figures can be checked without a model."""

from collections.abc import Mapping
from typing import NoReturn

import numpy as np

from core.evaluation.eval_context import Columns, EvalContext
from core.evaluation.record_scores import COLUMNS_KEY, SCORE_PREFIX
from core.evaluation.stats.bootstrap import Values
from core.lm.token_statistics import TokenStatistics
from core.schema.evaluation import SetName
from core.schema.record import Record
from core.schema.training import Training

TRAINING = Training(
    learning_rate=1e-3,
    scheduler="linear",
    warmup=0.0,
    optimizer="adamw",
    weight_decay=0.0,
    epochs=1,
    records_per_step=4,
    max_length=512,
    chat="raw",
    precision="float32",
    seed=0,
    gradient_clip=1.0,
    micro_batch_tokens=512,
)

Scores = tuple[Values, Values]


def statistics(probabilities: list[float], correct: list[bool] | None = None) -> TokenStatistics:
    """A record whose tokens had these probabilities."""
    count = len(probabilities)
    return TokenStatistics(
        log_probability=np.log(probabilities),
        correct=np.array([False] * count if correct is None else correct),
        mean=np.full(count, -1.0),
        deviation=np.full(count, 2.0),
    )


def random_statistics(generator: np.random.Generator, records: int) -> list[TokenStatistics]:
    """Records of 1 to 40 tokens."""
    records_statistics = []
    for count in generator.integers(1, 41, size=records):
        records_statistics.append(
            TokenStatistics(
                log_probability=-generator.exponential(2.0, size=count),
                correct=generator.random(count) < 0.6,
                mean=-generator.exponential(1.0, size=count),
                deviation=generator.exponential(1.0, size=count),
            )
        )
    return records_statistics


def context_of(scores: Mapping[str, Scores], *, retrained: Mapping[str, Scores] | None = None) -> EvalContext:
    """A context without a model, whose pass over forget and unseen has found these scores, and `loss` of the attack."""
    retrained = None if retrained is None else context_of(retrained)
    names: tuple[SetName, ...] = ("forget", "unseen")
    counts = [len(values) for values in next(iter(scores.values()))]
    sets = {name: [Record(text="text")] * count for name, count in zip(names, counts, strict=True)}
    context = EvalContext(no_model, sets, training=TRAINING, retrained=retrained)
    for place, name in enumerate(names):
        columns: Columns = {f"{SCORE_PREFIX}{attack}": values[place] for attack, values in scores.items()}
        columns["loss"] = -scores["loss"][place]
        context.columns(COLUMNS_KEY, name, lambda _, columns=columns: columns)  # type: ignore[misc]
    return context


def no_model() -> NoReturn:
    raise AssertionError("nothing here needs a model")
