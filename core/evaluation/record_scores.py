"""What one pass over a set yields of each record: likelihood, memorization, and the membership attacks' scores."""

from collections.abc import Sequence

from core.evaluation.attacks import extraction, membership
from core.evaluation.eval_context import Columns, EvalContext
from core.evaluation.scores import likelihood
from core.lm.token_statistics import TokenStatistics
from core.schema.evaluation import SetName
from core.schema.record import Record

COLUMNS_KEY = "one pass"
SCORE_PREFIX = "score/"
"""Before the names of the attacks' scores."""


def record_scores(context: EvalContext, name: SetName, limit: int | None = None) -> Columns:
    """`loss` (mean nats of a token), `tokens`, `accuracy`, `probability`, `extraction_strength`, and `score/<attack>`:
    of all records of a set, or of the `limit` that stand for them (`EvalContext.subset_indices`).

    Raises CoreError `no_scored_tokens`, `not_finite` and what else encoding raises.
    """

    def compute(records: Sequence[Record]) -> Columns:
        looked_at = [records[place] for place in context.subset_indices(name, limit)]
        return columns_from_statistics(context.statistics(looked_at, label=name), looked_at)

    return context.columns(_key(context, name, limit), name, compute)


def _key(context: EvalContext, name: SetName, limit: int | None) -> str:
    """What only some look at is nobody else's: the whole set's columns stay whole."""
    return COLUMNS_KEY if limit is None or limit >= len(context.sets[name]) else f"{COLUMNS_KEY} {limit}"


def record_scores_of_retrained(
    context: EvalContext, names: Sequence[SetName], limit: int | None = None
) -> list[Columns] | None:
    """What a pass over each of these sets yields of the retrained model; none where there is no such model.

    Its own measuring has mostly left them behind. Where its figures came from the cache they are made now: the measured
    model is let go before, since two may not fit.
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
    """The same of records whose tokens' statistics are known."""
    scores = membership.scores(statistics, records)
    return {
        "loss": likelihood.cross_entropies(statistics),
        "tokens": likelihood.tokens(statistics),
        "accuracy": likelihood.accuracies(statistics),
        "probability": likelihood.probabilities(statistics),
        "extraction_strength": extraction.extraction_strengths(statistics),
        **{f"{SCORE_PREFIX}{attack}": values for attack, values in scores.items()},
    }


def attack_scores(columns: Columns) -> Columns:
    """The membership attacks' scores, by the attacks' names."""
    scores = {name: values for name, values in columns.items() if name.startswith(SCORE_PREFIX)}
    return {name.removeprefix(SCORE_PREFIX): values for name, values in scores.items()}
