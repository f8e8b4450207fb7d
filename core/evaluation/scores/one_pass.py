"""What one pass over a set yields of each record: likelihood, memorization, and the membership attacks' scores."""

from collections.abc import Sequence

from core.evaluation.attacks import extraction, membership
from core.evaluation.eval_context import Columns, EvalContext
from core.evaluation.scores import likelihood
from core.lm.token_statistics import TokenStatistics
from core.schema.evaluation import SetName
from core.schema.record import Record

KEY = "one pass"
SCORE = "score/"
"""Before the names of the attacks' scores."""


def one_pass(context: EvalContext, name: SetName, limit: int | None = None) -> Columns:
    """`loss` (mean nats of a token), `tokens`, `accuracy`, `probability`, `extraction_strength`, and `score/<attack>`:
    of all records of a set, or of the `limit` that stand for them (`EvalContext.chosen`).

    Raises CoreError `no_scored_tokens`, `not_finite` and what else encoding raises.
    """

    def compute(records: Sequence[Record]) -> Columns:
        looked_at = [records[place] for place in context.chosen(name, limit)]
        return columns_of(context.statistics(looked_at, what=name), looked_at)

    return context.columns(_key(context, name, limit), name, compute)


def _key(context: EvalContext, name: SetName, limit: int | None) -> str:
    """What only some look at is nobody else's: the whole set's columns stay whole."""
    return KEY if limit is None or limit >= len(context.sets[name]) else f"{KEY} {limit}"


def passes_of_retrained(
    context: EvalContext, names: Sequence[SetName], limit: int | None = None
) -> list[Columns] | None:
    """What a pass over each of these sets yields of the retrained model; none where there is no such model.

    Its own measuring has mostly left them behind. Where its figures came from the cache they are made now: the measured
    model is let go before, since two may not fit.
    """
    if context.retrained is None:
        return None
    if all(context.retrained.known(_key(context, name, limit), name) for name in names):
        return [one_pass(context.retrained, name, limit) for name in names]
    context.let_go()
    try:
        return [one_pass(context.retrained, name, limit) for name in names]
    finally:
        context.retrained.let_go()


def columns_of(statistics: Sequence[TokenStatistics], records: Sequence[Record]) -> Columns:
    """The same of records whose tokens' statistics are known."""
    scores = membership.scores(statistics, records)
    return {
        "loss": likelihood.cross_entropies(statistics),
        "tokens": likelihood.tokens(statistics),
        "accuracy": likelihood.accuracies(statistics),
        "probability": likelihood.probabilities(statistics),
        "extraction_strength": extraction.extraction_strengths(statistics),
        **{f"{SCORE}{attack}": values for attack, values in scores.items()},
    }


def scores_of(columns: Columns) -> Columns:
    """The attacks' scores alone, by the attacks' names."""
    return {name.removeprefix(SCORE): values for name, values in columns.items() if name.startswith(SCORE)}
