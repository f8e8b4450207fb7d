"""How many of the blanks in records a model fills in: greedily, and in the best of several samples."""

from collections.abc import Sequence

import numpy as np

from core.evaluation.budget import Budget
from core.evaluation.eval_context import Columns, EvalContext
from core.evaluation.generation.continuation import continuations
from core.evaluation.measurement import Budgeted
from core.evaluation.partial_columns import TimeLimitReached, columns_or_partial
from core.evaluation.stats.bootstrap import weighted_means
from core.evaluation.text import record_context
from core.evaluation.text.cloze_items import Blank, blanks, shares
from core.schema.evaluation import MeasurementResult, SetName
from core.schema.record import Record

GREEDY, SAMPLED = "greedy", "sampled"


def recovery(
    context: EvalContext, measurement: Budgeted, *, most: int, samples: int, fill: bool, figures: dict[str, str]
) -> MeasurementResult:
    """Of forget and unseen, the mean over records of the share of blanks that were brought back.

    `figures` names what becomes of the columns `greedy` and `sampled`.
    """
    budget, found = measurement.budget(context), MeasurementResult()
    words = record_context.background(context)
    key = f"{measurement.name} {measurement.records} {most} {samples} {context.seed} {record_context.digest(context)}"
    sets: list[SetName] = [name for name in ("forget", "unseen") if name in context.sets]
    for name in sets:
        places = context.subset_indices(name, measurement.records)
        budget.note_left_out(name, done=len(places), of=len(context.sets[name]), reason="records")

        def compute(records: Sequence[Record], places: list[int] = places) -> Columns:
            asked = [
                blank
                for place in places
                for blank in blanks(
                    records[place],
                    context.tokenizer,
                    chat=context.training.chat,
                    number=place,
                    most=most,
                    fill=fill,
                    background=words,
                )
            ]
            return _answered(context, asked, samples, budget)

        columns, reached = columns_or_partial(context, key, name, compute)
        counted = int(columns["asked"][0])
        if reached is not None:
            budget.note_left_out(name, done=reached, of=counted, reason="seconds")
        if counted < len(places):
            found.warnings.append(
                f"{measurement.name}: {len(places) - counted} of {len(places)} {name} records hold no name, number or"
                " date that could be asked for"
            )
        means = {shown: columns[kind] for kind, shown in figures.items()}
        if len(columns[GREEDY]):
            equal = np.ones(len(columns[GREEDY]))
            resamples = context.resamples(f"{measurement.name} {name}")
            found.sets[name] = weighted_means(
                {shown: (values, equal) for shown, values in means.items()}, resamples, through={}
            )
    found.cut_short = budget.cut_short
    return found


def _answered(context: EvalContext, asked: Sequence[Blank], samples: int, budget: Budget) -> Columns:
    """`greedy` and `sampled`, each the share of every record that has blanks, and `asked`, how many records these are.

    Raises TimeLimitReached with the records whose blanks were all answered."""
    prefixes, lengths = [one.ids for one in asked], [one.length for one in asked]
    greedy = continuations(context, prefixes, lengths, budget=budget)
    sampled = continuations(context, prefixes, lengths, samples=samples, seed=context.seed, budget=budget)
    cut = {blank.record for blank, one, many in zip(asked, greedy, sampled, strict=True) if not one or not many}
    kept = [place for place, blank in enumerate(asked) if blank.record not in cut]

    def share(said: list[list[list[int]]]) -> list[float]:
        right = [
            any(asked[place].recovered(context.tokenizer.decode(ids, skip_special_tokens=True)) for ids in said[place])
            for place in kept
        ]
        return list(shares([asked[place] for place in kept], right).values())

    columns = {
        GREEDY: np.array(share(greedy)),
        SAMPLED: np.array(share(sampled)),
        "asked": np.array([float(len({blank.record for blank in asked}))]),
    }
    if cut:
        raise TimeLimitReached(columns, len(columns[GREEDY]))
    return columns
