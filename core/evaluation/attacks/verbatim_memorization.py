"""Verbatim memorization: how much of a record's continuation a model writes when it is given the prefix."""

from collections.abc import Sequence

import numpy as np

from core.evaluation.budget import Budget
from core.evaluation.eval_context import Columns, EvalContext
from core.evaluation.generation.continuation import continuations
from core.evaluation.generation.written_text import WrittenText, scored_chunks
from core.evaluation.scores.likelihood import probabilities
from core.evaluation.stats.bootstrap import AMOUNT, Values, weighted_means
from core.evaluation.text.overlap import longest_common_run, rouge_l
from core.evaluation.text.prefixes import PrefixSplit, insert_words, split_prefix
from core.schema.evaluation import Figure, SetName
from core.schema.record import Record

BATCH = 64
"""Records between two looks at the clock."""

LEAST_CONTINUATION = 8
"""Tokens of a continuation that no model gives back by guessing. The record that is given back most is looked for among
records with at least so many."""


def memorization_columns(
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
    """`recall`, `f1`, `longest` and `length` (n,) of at most `limit` records, each the best of all tries; and warnings.

    A try inserts one opening before a plain text or behind a prompt and continues it greedily or, with `samples`, so
    many times at temperature 1, for as many tokens as the true continuation (`length`), at most `tokens`. With
    `probable` there is
    `probability` too: exp(-CE) of the true continuation behind an opening. Records without a continuation are not among
    the n. The budget notes the records that limit or time leave out. Raises CoreError as encoding does.
    """
    records, indices = context.sets[name], context.subset_indices(name, limit)
    parts: list[Columns] = []
    for start in range(0, len(indices), BATCH):
        if parts and budget.expired():
            break
        batch = [records[index] for index in indices[start : start + BATCH]]

        def compute(_: Sequence[Record], batch: list[Record] = batch) -> Columns:
            return _columns(context, batch, tokens=tokens, samples=samples, openings=openings, probable=probable)

        key = f"recited {limit} {tokens} {samples} {list(openings)} {probable} {start}"
        parts.append(context.columns(key, name, compute))
    columns = {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
    done, continued = len(columns["asked"]), columns.pop("asked") > 0
    budget.note_left_out(name, done=len(indices), of=len(records), reason="records")
    budget.note_left_out(name, done=done, of=len(indices), reason="seconds")
    warnings = []
    if too_short := done - int(continued.sum()):
        warnings.append(f"{name}: {too_short} of {done} records are too short to be continued, and are left out")
    if cut := int(columns.pop("cut").sum()):
        warnings.append(f"{name}: {cut} prompts are longer than {context.length} tokens, and lost their beginning")
    return {key: values[continued] for key, values in columns.items()}, warnings


def mean_figures(columns: Columns, names: dict[str, str], context: EvalContext, name: SetName) -> dict[str, Figure]:
    """The means of columns with their intervals; `names` gives each figure's column. Empty without any record."""
    values = {figure: columns[column] for figure, column in names.items()}
    means = {figure: (column, np.ones(len(column))) for figure, column in values.items() if len(column)}
    ranges = {figure: AMOUNT for figure, column in names.items() if column == "longest"}
    return weighted_means(means, context.resamples(name), through={}, ranges=ranges) if means else {}


def highest_recall(columns: Columns) -> Figure | None:
    """The recall of the record that is given back most, known exactly; None where all continuations are too short."""
    recalls = columns["recall"][columns["length"] >= LEAST_CONTINUATION]
    if not len(recalls):
        return None
    highest = float(recalls.max())
    return Figure(value=highest, low=highest, high=highest, records=len(recalls))


def _columns(
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
    asked, cut, probability, continued = (np.zeros(len(records)) for _ in range(4))
    for opening in openings:
        words: list[int] = tokenizer(f" {opening} ", add_special_tokens=False)["input_ids"] if opening else []
        length = max(2, context.length - len(words))
        splits = [
            insert_words(
                record,
                words,
                split_prefix(record, tokenizer, length=length, chat=context.training.chat, tokens=tokens),
                special,
            )
            for record in records
        ]
        truths = [str(tokenizer.decode(split.continuation, skip_special_tokens=True)) for split in splits]
        prefixes, lengths = [split.prefix for split in splits], [len(split.continuation) for split in splits]
        if probable:
            probability = np.maximum(probability, _probabilities(context, splits))
        written = continuations(context, prefixes, lengths, samples=samples, seed=context.seed)
        for row, (split, truth, tries) in enumerate(zip(splits, truths, written, strict=True)):
            if not truth.strip():
                continue
            asked[row], cut[row], continued[row] = 1.0, max(cut[row], split.truncated), len(split.continuation)
            for ids in tries:
                text = str(tokenizer.decode(ids, skip_special_tokens=True))
                scores = [*rouge_l(truth, text), longest_common_run(split.continuation, ids)]
                best[row] = np.maximum(best[row], scores)
    columns = {"recall": best[:, 0], "f1": best[:, 1], "longest": best[:, 2], "asked": asked, "cut": cut}
    columns["length"] = continued
    return {**columns, "probability": probability} if probable else columns


def _probabilities(context: EvalContext, splits: Sequence[PrefixSplit]) -> Values:
    """exp(-CE) of each continuation behind its prefix: (n,); 0 where either is empty."""
    complete = [index for index, split in enumerate(splits) if split.prefix and split.continuation]
    values = np.zeros(len(splits))
    chunks = scored_chunks([WrittenText(split.prefix, split.continuation) for split in splits])
    if chunks:
        values[complete] = probabilities(context.chunk_statistics(chunks, len(chunks), label="prefixed"))
    return values
