"""Scores of single records from one pass through the model: likelihood, memorization, membership attacks."""

from collections.abc import Sequence

from core.evaluation.attacks import extraction, membership
from core.evaluation.eval_context import Columns, EvalContext
from core.evaluation.scores import likelihood
from core.lm.token_statistics import TokenStatistics
from core.schema.evaluation import SetName
from core.schema.record import Record

COLUMNS_KEY = "one pass"
SCORE_PREFIX = "score/"
"""Stands before the attacks' names in the names of columns."""


def record_scores(context: EvalContext, name: SetName, limit: int | None = None) -> Columns:
    """Scores of all records of a set, or of the `limit` records of `EvalContext.subset_indices`.

    `loss` (mean nats of a token), `tokens`, `accuracy`, `probability`, `extraction_strength`, and `score/<attack>`.
    Raises CoreError `no_scored_tokens`, `not_finite` and what else encoding raises.
    """

    def compute(records: Sequence[Record]) -> Columns:
        subset = [records[index] for index in context.subset_indices(name, limit)]
        return columns_from_statistics(context.statistics(subset, label=name), subset)

    return context.columns(_key(context, name, limit), name, compute)


def _key(context: EvalContext, name: SetName, limit: int | None) -> str:
    """A subset has a key of its own, so that the whole set's columns always hold every record."""
    return COLUMNS_KEY if limit is None or limit >= len(context.sets[name]) else f"{COLUMNS_KEY} {limit}"


def retrained_record_scores(
    context: EvalContext, names: Sequence[SetName], limit: int | None = None
) -> list[Columns] | None:
    """The retrained model's scores of records of each set; None where there is no such model.

    Usually its own evaluation has computed them. Where its figures came from the cache they are computed now; the
    measured model is unloaded first, since memory may not hold two models.
    """
    if context.retrained is None:
        return None
    if all(context.retrained.computed_columns(_key(context, name, limit), name) for name in names):
        return [record_scores(context.retrained, name, limit) for name in names]
    context.unload_model()
    try:
        return [record_scores(context.retrained, name, limit) for name in names]
    finally:
        context.retrained.unload_model()


def columns_from_statistics(statistics: Sequence[TokenStatistics], records: Sequence[Record]) -> Columns:
    """The columns of `record_scores` from the token statistics of the records."""
    scores = membership.scores(statistics, records)
    return {
        "loss": likelihood.cross_entropies(statistics),
        "tokens": likelihood.token_counts(statistics),
        "accuracy": likelihood.accuracies(statistics),
        "probability": likelihood.probabilities(statistics),
        "extraction_strength": extraction.extraction_strengths(statistics),
        **{f"{SCORE_PREFIX}{attack}": values for attack, values in scores.items()},
    }


def attack_scores(columns: Columns) -> Columns:
    """The membership attacks' scores, by the attacks' names."""
    scores = {name: values for name, values in columns.items() if name.startswith(SCORE_PREFIX)}
    return {name.removeprefix(SCORE_PREFIX): values for name, values in scores.items()}
