"""Cloze recovery: the share of cloze items that a model completes, greedily and in the best of several samples."""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from core.evaluation.budget import Budget
from core.evaluation.eval_context import Columns, EvalContext
from core.evaluation.generation.continuation import continuations
from core.evaluation.measurement import Budgeted
from core.evaluation.partial_columns import TimeLimitReached, columns_or_partial
from core.evaluation.stats.bootstrap import weighted_means
from core.evaluation.text import record_context
from core.evaluation.text.cloze_items import ClozeItem, cloze_items, recovered_shares
from core.schema.evaluation import Figure, MeasurementResult, SetName
from core.schema.record import Record

GREEDY, SAMPLED, ITEMS = "greedy", "sampled", "items"

LEAST_ITEMS = 3
"""Items of a record whose share of recovered ones says more than that a single guess was right."""


def measure_recovery(
    context: EvalContext,
    measurement: Budgeted,
    *,
    limit: int,
    samples: int,
    fill: bool,
    figures: dict[str, str],
    highest: str | None = None,
) -> MeasurementResult:
    """Mean recovered shares of the forget and unseen records, with at most `limit` items of each record.

    `figures` gives the figures' names for the columns `greedy` and `sampled`. `highest` names the greedy share of the
    record that has most of it, among records with LEAST_ITEMS items.
    """
    budget, result = measurement.budget(context), MeasurementResult()
    common = record_context.common_words(context)
    digest = record_context.context_digest(context)
    key = f"{measurement.name} {measurement.records} {limit} {samples} {context.seed} {digest}"
    sets: list[SetName] = [name for name in ("forget", "unseen") if name in context.sets]
    for name in sets:
        indices = context.subset_indices(name, measurement.records)
        budget.note_left_out(name, done=len(indices), of=len(context.sets[name]), reason="records")

        def compute(records: Sequence[Record], indices: list[int] = indices) -> Columns:
            items = [
                item
                for index in indices
                for item in cloze_items(
                    records[index],
                    context.tokenizer,
                    chat=context.training.chat,
                    number=index,
                    limit=limit,
                    fill=fill,
                    common=common,
                )
            ]
            return _recovered(context, items, samples, budget)

        columns, done = columns_or_partial(context, key, name, compute)
        with_items = int(columns["asked"][0])
        if done is not None:
            budget.note_left_out(name, done=done, of=with_items, reason="seconds")
        if with_items < len(indices):
            result.warnings.append(
                f"{measurement.name}: {len(indices) - with_items} of {len(indices)} {name} records hold no name, number"
                " or date that could be asked for"
            )
        if len(columns[GREEDY]):
            equal = np.ones(len(columns[GREEDY]))
            resamples = context.resamples(f"{measurement.name} {name}")
            means = {figure: (columns[column], equal) for column, figure in figures.items()}
            result.sets[name] = weighted_means(means, resamples, through={})
        shares = columns[GREEDY][columns[ITEMS] >= LEAST_ITEMS]
        if highest is not None and len(shares):
            most = float(shares.max())
            result.sets[name][highest] = Figure(value=most, low=most, high=most, records=len(shares))
    result.cut_short = budget.cut_short
    return result


def _recovered(context: EvalContext, items: Sequence[ClozeItem], samples: int, budget: Budget) -> Columns:
    """`greedy` and `sampled`, the recovered share of each record that has items; `items`, how many it has; `asked`, the
    number of such records.

    Raises TimeLimitReached with the records whose items were all completed.
    """
    prefixes, lengths = [item.ids for item in items], [item.length for item in items]
    # the text before a value is read once, for the most probable continuation and for the samples
    written = continuations(context, prefixes, lengths, samples=samples, greedy=True, seed=context.seed, budget=budget)
    greedy, sampled = [rows[:1] for rows in written], [rows[1:] for rows in written]
    answered = [bool(rows) for rows in written]
    cut = {item.record for item, complete in zip(items, answered, strict=True) if not complete}
    kept = [index for index, item in enumerate(items) if item.record not in cut]

    def shares(answers: list[list[list[int]]]) -> list[float]:
        recovered = [
            any(
                items[index].is_recovered_by(context.tokenizer.decode(ids, skip_special_tokens=True))
                for ids in answers[index]
            )
            for index in kept
        ]
        return list(recovered_shares([items[index] for index in kept], recovered).values())

    columns = {
        GREEDY: np.array(shares(greedy)),
        SAMPLED: np.array(shares(sampled)),
        ITEMS: np.array(list(Counter(items[index].record for index in kept).values()), np.float64),
        "asked": np.array([float(len({item.record for item in items}))]),
    }
    if cut:
        raise TimeLimitReached(columns, len(columns[GREEDY]))
    return columns
