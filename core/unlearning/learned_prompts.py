"""The prompts of records, and whether a model has learned them beside the answers."""

from collections.abc import Sequence

import torch
from torch import BoolTensor, LongTensor

from core.lm.data import Chunk
from core.lm.forward import Forward
from core.lm.reference_outputs import losses

SAMPLE = 48
"""Prompts of each set that are read."""
LEARNED = 1.0
"""Nats per token by which a model that was trained on the prompts, too, finds those of its records likelier than those
of unseen records. Models that had learned LUME and TOFU by heart: 3.2 and 4.2."""


def prompts_of(chunks: Sequence[Chunk], *, shorter_than: int) -> tuple[tuple[int, ...], ...]:
    """The different prompts of the records: the tokens before the first that is scored, unless they are only one."""
    return tuple(dict.fromkeys(prompt for prompt in _first_tokens(chunks) if 1 < len(prompt) < shorter_than))


def has_learned_prompts(forward: Forward, known: Sequence[Chunk], unseen: Sequence[Chunk], *, max_tokens: int) -> bool:
    """Whether the model finds the prompts of the records that it knows likelier than those of unseen records, by
    LEARNED nats per token. False where either has no prompts. Every rank answers for itself, and alike."""
    means = [_mean_loss(forward, chunks, max_tokens) for chunks in (known, unseen)]
    if means[0] is None or means[1] is None:
        return False
    return means[1] - means[0] >= LEARNED


def _mean_loss(forward: Forward, chunks: Sequence[Chunk], max_tokens: int) -> float | None:
    prompts = [prompt for prompt in _first_tokens(chunks) if len(prompt) > 1][:SAMPLE]
    if not prompts:
        return None
    scored = [torch.arange(len(prompt)) > 0 for prompt in prompts]
    read = [
        Chunk(LongTensor(prompt), BoolTensor(mask), number)
        for number, (prompt, mask) in enumerate(zip(prompts, scored, strict=True))
    ]
    with torch.no_grad():
        return float(losses(forward, read, max_tokens=max_tokens).double().mean())


def _first_tokens(chunks: Sequence[Chunk]) -> list[tuple[int, ...]]:
    """Of each record the tokens before the first that is scored."""
    first_chunks = {chunk.record: chunk for chunk in reversed(chunks)}
    return [tuple(chunk.ids[: int(chunk.scored.int().argmax())].tolist()) for chunk in first_chunks.values()]
