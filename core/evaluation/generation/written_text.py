"""Text that a model writes after the prefixes of records, its diversity and its perplexity."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import BoolTensor, LongTensor

from core.evaluation.budget import Budget
from core.evaluation.eval_context import Columns, EvalContext
from core.evaluation.generation.continuation import continuations
from core.evaluation.scores.likelihood import cross_entropies
from core.evaluation.text.distinct_n import distinct_n
from core.evaluation.text.prefixes import split_prefix
from core.lm.data import Chunk
from core.lm.token_statistics import token_statistics
from core.schema.evaluation import SetName


@dataclass(frozen=True)
class WrittenText:
    """Token ids of a prefix, and of the continuation that was written after it."""

    prefix: list[int]
    continuation: list[int]


def write_texts(
    context: EvalContext, name: SetName, *, limit: int | None, tokens: int, budget: Budget
) -> list[WrittenText]:
    """Samples one continuation at temperature 1 for each of at most `limit` records; the same for the same seed.

    The budget notes the records that limit or time leave out. Raises CoreError as encoding does.
    """
    records, indices = context.sets[name], context.subset_indices(name, limit)
    chat, length = context.training.chat, context.length
    splits = [
        split_prefix(records[index], context.tokenizer, length=length, chat=chat, tokens=tokens) for index in indices
    ]
    prefixes, lengths = [split.prefix for split in splits], [len(split.continuation) for split in splits]
    written = continuations(context, prefixes, lengths, samples=1, seed=context.seed, budget=budget)
    budget.note_left_out(name, done=len(indices), of=len(records), reason="records")
    budget.note_left_out(name, done=sum(1 for samples in written if samples), of=len(indices), reason="seconds")
    return [WrittenText(prefix, samples[0]) for prefix, samples in zip(prefixes, written, strict=True) if samples]


def diversity_columns(texts: Sequence[WrittenText]) -> Columns:
    """`fluency_distinct_1`, `fluency_distinct_2` and `fluency_repetition`, of each text that is long enough."""
    singles, pairs, fours = ([distinct_n(text.continuation, n) for text in texts] for n in (1, 2, 4))
    return {
        "fluency_distinct_1": np.array([share for share in singles if share is not None]),
        "fluency_distinct_2": np.array([share for share in pairs if share is not None]),
        "fluency_repetition": np.array([1 - share for share in fours if share is not None]),
    }


def perplexity_columns(context: EvalContext, texts: Sequence[WrittenText]) -> Columns:
    """`fluency_perplexity`: mean nats of a written token under this context's model, of each text that is not empty.

    Texts are left out for which that model gives no finite number.
    """
    chunks = scored_chunks(texts)
    if not chunks:
        return {"fluency_perplexity": np.zeros(0)}
    statistics = token_statistics(context.model, chunks, len(chunks), max_tokens=context.training.micro_batch_tokens)
    return {"fluency_perplexity": cross_entropies([text for text in statistics if text.finite()])}


def scored_chunks(texts: Sequence[WrittenText]) -> list[Chunk]:
    """One chunk, its continuation scored, of each text that has both a prefix and a continuation."""
    chunks: list[Chunk] = []
    for text in texts:
        if text.prefix and text.continuation:
            ids = torch.tensor([*text.prefix, *text.continuation])
            scored = torch.arange(len(ids)) >= len(text.prefix)
            chunks.append(Chunk(LongTensor(ids), BoolTensor(scored), len(chunks)))
    return chunks
