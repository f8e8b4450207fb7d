"""How much of the rest of a record a model says when it is given the first part."""

from collections.abc import Sequence

import numpy as np

from core.evaluation.budget import Budget
from core.evaluation.eval_context import Columns, EvalContext
from core.evaluation.generation.continuation import continuations
from core.evaluation.generation.written_text import Written, chunks_of
from core.evaluation.scores.likelihood import probabilities
from core.evaluation.stats.bootstrap import AMOUNT, Values, weighted_means
from core.evaluation.text.overlap import longest_run, rouge_l
from core.evaluation.text.prefixes import Beginning, beginning, put_before
from core.schema.evaluation import Figure, SetName
from core.schema.record import Record

AT_ONCE = 64
"""Records between two looks at the clock."""


def recited(
    context: EvalContext,
    name: SetName,
    *,
    limit: int | None,
    tokens: int,
    samples: int = 0,
    openings: Sequence[str] = ("",),
    probable: bool = False,
    budget: Budget,
) -> tuple[Columns, list[str]]:
    """`recall`, `f1`, `longest` (n,) of at most `limit` records of a set, each the highest of all tries, and warnings.

    A try is one opening put before a plain text or behind a prompt, continued greedily or, with `samples`, so many
    times at temperature 1; as long as the true rest, `tokens` at most. With `probable` there is `probability`, too,
    exp(-CE) of that rest behind an opening. Records of which nothing is left to say are not among the n. What limit or
    time leave out is noted in the budget. Raises CoreError as encoding does.
    """
    records, places = context.sets[name], context.subset_indices(name, limit)
    parts: list[Columns] = []
    for start in range(0, len(places), AT_ONCE):
        if parts and budget.expired():
            break
        asked = [records[place] for place in places[start : start + AT_ONCE]]

        def compute(_: Sequence[Record], asked: list[Record] = asked) -> Columns:
            return _recited(context, asked, tokens=tokens, samples=samples, openings=openings, probable=probable)

        key = f"recited {limit} {tokens} {samples} {list(openings)} {probable} {start}"
        parts.append(context.columns(key, name, compute))
    whole = {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
    done, asked_for = len(whole["asked"]), whole.pop("asked") > 0
    budget.note_left_out(name, done=len(places), of=len(records), reason="records")
    budget.note_left_out(name, done=done, of=len(places), reason="seconds")
    warnings = []
    if silent := done - int(asked_for.sum()):
        warnings.append(f"{name}: {silent} of {done} records are too short to be continued, and are left out")
    if cut := int(whole.pop("cut").sum()):
        warnings.append(f"{name}: {cut} prompts are longer than {context.length} tokens, and lost their beginning")
    return {key: values[asked_for] for key, values in whole.items()}, warnings


def means(columns: Columns, names: dict[str, str], context: EvalContext, name: SetName) -> dict[str, Figure]:
    """The columns' means with their intervals, under other names; none where there is no record."""
    values = {said: columns[column] for said, column in names.items()}
    some = {said: (one, np.ones(len(one))) for said, one in values.items() if len(one)}
    ranges = {said: AMOUNT for said, column in names.items() if column == "longest"}
    return weighted_means(some, context.resamples(name), through={}, ranges=ranges) if some else {}


def _recited(
    context: EvalContext,
    records: Sequence[Record],
    *,
    tokens: int,
    samples: int,
    openings: Sequence[str],
    probable: bool,
) -> Columns:
    tokenizer, special = context.tokenizer, context.tokenizer.all_special_ids
    best = np.zeros((len(records), 3))
    asked, cut, probability = (np.zeros(len(records)) for _ in range(3))
    for opening in openings:
        words: list[int] = tokenizer(f" {opening} ", add_special_tokens=False)["input_ids"] if opening else []
        length = max(2, context.length - len(words))
        starts = [
            put_before(
                record,
                words,
                beginning(record, tokenizer, length=length, chat=context.training.chat, tokens=tokens),
                special,
            )
            for record in records
        ]
        truths = [str(tokenizer.decode(start.rest, skip_special_tokens=True)) for start in starts]
        lengths = [len(start.rest) for start in starts]
        if probable:
            probability = np.maximum(probability, _probabilities(context, starts))
        said = continuations(context, [start.first for start in starts], lengths, samples=samples, seed=context.seed)
        for row, (start, truth, tries) in enumerate(zip(starts, truths, said, strict=True)):
            if not truth.strip():
                continue
            asked[row], cut[row] = 1.0, max(cut[row], start.cut)
            for ids in tries:
                text = str(tokenizer.decode(ids, skip_special_tokens=True))
                best[row] = np.maximum(best[row], [*rouge_l(truth, text), longest_run(start.rest, ids)])
    columns = {"recall": best[:, 0], "f1": best[:, 1], "longest": best[:, 2], "asked": asked, "cut": cut}
    return {**columns, "probability": probability} if probable else columns


def _probabilities(context: EvalContext, starts: Sequence[Beginning]) -> Values:
    """exp(-CE) of each rest behind its first part: (n,); 0 where either is empty."""
    able = [place for place, start in enumerate(starts) if start.first and start.rest]
    found = np.zeros(len(starts))
    chunks = chunks_of([Written(start.first, start.rest) for start in starts])
    if chunks:
        found[able] = probabilities(context.chunk_statistics(chunks, len(chunks), label="prefixed"))
    return found
