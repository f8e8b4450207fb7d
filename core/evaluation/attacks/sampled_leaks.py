"""Leaks among samples: how many of a record's sampled continuations give the record back."""

from collections.abc import Sequence

import numpy as np

from core.evaluation.attacks.verbatim_memorization import LEAST_CONTINUATION
from core.evaluation.budget import Budget
from core.evaluation.eval_context import Columns, EvalContext
from core.evaluation.generation.continuation import continuations
from core.evaluation.partial_columns import TimeLimitReached, columns_or_partial
from core.evaluation.text.overlap import rouge_l
from core.evaluation.text.prefixes import split_prefix
from core.schema.evaluation import SetName
from core.schema.record import Record

ROWS = 50
"""Samples in one batch: each holds keys and values of its own."""

LEAKED_SHARE = 0.9
"""ROUGE-L recall from which a sample gives its record back."""


def leak_columns(
    context: EvalContext, name: SetName, *, limit: int | None, tokens: int, samples: int, budget: Budget
) -> tuple[Columns, list[str]]:
    """`leaks` (n,): how many samples at temperature 1 give each record back; and warnings.

    A sample gives its record back from a ROUGE-L recall of LEAKED_SHARE on.
    The prefix is the first half of a plain text, or the prompt; a sample is as long as the true continuation, at most
    `tokens`. Records whose continuation is shorter than LEAST_CONTINUATION are not among the n: it can be guessed. The
    budget notes the records that limit or time leave out. Raises CoreError as encoding does.
    """
    records, indices = context.sets[name], context.subset_indices(name, limit)

    def compute(records: Sequence[Record]) -> Columns:
        counts: list[float] = []
        for done, index in enumerate(indices):
            # the first record is sampled whatever the time, so that there is a figure
            if (count := _leaks(context, records[index], tokens, samples, budget if done else None)) is None:
                raise TimeLimitReached({"leaks": np.array(counts)}, done)
            counts.append(count)
        return {"leaks": np.array(counts)}

    columns, done = columns_or_partial(context, f"leaks {limit} {tokens} {samples}", name, compute)
    leaks = columns["leaks"].astype(np.float64)
    budget.note_left_out(name, done=len(indices), of=len(records), reason="records")
    if done is not None:
        budget.note_left_out(name, done=done, of=len(indices), reason="seconds")
    long_enough = leaks >= 0
    warnings = []
    if too_short := len(leaks) - int(long_enough.sum()):
        warnings.append(f"{name}: {too_short} of {len(leaks)} records have a continuation so short that it is guessed")
    return {"leaks": leaks[long_enough]}, warnings


def _leaks(context: EvalContext, record: Record, tokens: int, samples: int, budget: Budget | None) -> float | None:
    """The number of leaking samples of a record; -1 where its continuation is too short, None where time is up."""
    tokenizer = context.tokenizer
    split = split_prefix(record, tokenizer, length=context.length, chat=context.training.chat, tokens=tokens)
    truth = str(tokenizer.decode(split.continuation, skip_special_tokens=True))
    length = len(split.continuation)
    if length < LEAST_CONTINUATION or not truth.strip() or not split.prefix:
        return -1.0
    leaks = 0
    for number, start in enumerate(range(0, samples, ROWS)):
        rows = min(ROWS, samples - start)
        seed = context.seed + number  # a draw depends on the seed, the prefix and its number in the batch
        (written,) = continuations(context, [split.prefix], [length], samples=rows, seed=seed, budget=budget)
        if not written:
            return None
        texts = (str(tokenizer.decode(ids, skip_special_tokens=True)) for ids in written)
        leaks += sum(rouge_l(truth, text)[0] >= LEAKED_SHARE for text in texts)
    return float(leaks)
