"""Text that a model writes from the beginnings of records, and what can be said of it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import BoolTensor, LongTensor

from core.evaluation.budget import Budget
from core.evaluation.eval_context import Columns, EvalContext
from core.evaluation.generation.continuation import continuations
from core.evaluation.scores.likelihood import cross_entropies
from core.evaluation.text.distinct_n import distinct
from core.evaluation.text.prefixes import beginning
from core.lm.data import Chunk
from core.lm.token_statistics import token_statistics
from core.schema.evaluation import SetName


@dataclass(frozen=True)
class Written:
    """Token ids that were given, and what was written after them."""

    first: list[int]
    said: list[int]


def written(context: EvalContext, name: SetName, *, limit: int | None, tokens: int, budget: Budget) -> list[Written]:
    """One sample at temperature 1 from each of at most `limit` records of a set; the same for the same seed.

    What limit or time leave out is noted in the budget. Raises CoreError as encoding does.
    """
    records, places = context.sets[name], context.subset_indices(name, limit)
    starts = [
        beginning(records[place], context.tokenizer, length=context.length, chat=context.training.chat, tokens=tokens)
        for place in places
    ]
    lengths = [len(start.rest) for start in starts]
    said = continuations(context, [one.first for one in starts], lengths, samples=1, seed=context.seed, budget=budget)
    budget.note_left_out(name, done=len(places), of=len(records), reason="records")
    budget.note_left_out(name, done=sum(1 for tries in said if tries), of=len(places), reason="seconds")
    return [Written(start.first, tries[0]) for start, tries in zip(starts, said, strict=True) if tries]


def varieties(texts: Sequence[Written]) -> Columns:
    """`fluency_distinct_1`, `fluency_distinct_2`, `fluency_repetition`, each of the texts that are long enough."""
    once, pairs, fours = ([distinct(text.said, n) for text in texts] for n in (1, 2, 4))
    return {
        "fluency_distinct_1": np.array([one for one in once if one is not None]),
        "fluency_distinct_2": np.array([one for one in pairs if one is not None]),
        "fluency_repetition": np.array([1 - one for one in fours if one is not None]),
    }


def perplexities(context: EvalContext, texts: Sequence[Written]) -> Columns:
    """`fluency_perplexity`: mean nats of a written token under this context's model, of each text that is not empty;
    none where that model says no number."""
    chunks = chunks_of(texts)
    if not chunks:
        return {"fluency_perplexity": np.zeros(0)}
    found = token_statistics(context.model, chunks, len(chunks), max_tokens=context.training.micro_batch_tokens)
    nats = cross_entropies([one for one in found if one.finite()])
    return {"fluency_perplexity": nats}


def chunks_of(texts: Sequence[Written]) -> list[Chunk]:
    """One of each text of which neither part is empty: what was said is scored."""
    chunks: list[Chunk] = []
    for text in texts:
        if text.first and text.said:
            ids = torch.tensor([*text.first, *text.said])
            scored = torch.arange(len(ids)) >= len(text.first)
            chunks.append(Chunk(LongTensor(ids), BoolTensor(scored), len(chunks)))
    return chunks
