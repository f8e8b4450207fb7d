"""The prompts of records, and whether a model has learned them beside the answers."""

from collections.abc import Sequence
from itertools import chain, takewhile

import torch
from torch import BoolTensor, LongTensor

from core.lm.data import Chunk
from core.lm.forward import Forward
from core.lm.reference_outputs import losses

SAMPLE = 48
"""Prompts of each set that are read."""
LEARNED = 1.0
"""Nats per token by which a model that was trained on the prompts, too, finds those of its records likelier than those
of unseen records. Models that had learned LUME and TOFU by heart: 3.2 and 4.2, the prompts' beginnings included."""


def prompts_of(chunks: Sequence[Chunk], *, shorter_than: int) -> tuple[tuple[int, ...], ...]:
    """The different prompts of the records: the tokens before the first that is scored, unless they are only one."""
    return tuple(dict.fromkeys(prompt for prompt in _first_tokens(chunks) if 1 < len(prompt) < shorter_than))


def has_learned_prompts(forward: Forward, known: Sequence[Chunk], unseen: Sequence[Chunk], *, max_tokens: int) -> bool:
    """True if the model has learned the prompts of `known`, not only the answers: their loss is at least LEARNED nats
    per token below that of the prompts of `unseen`.

    Tokens that all prompts begin with, such as a chat template's header, do not count. False if either set has no
    prompts. All ranks call it together.
    """
    prompts = [[prompt for prompt in _first_tokens(chunks) if len(prompt) > 1][:SAMPLE] for chunks in (known, unseen)]
    alike = takewhile(lambda tokens: len(set(tokens)) == 1, zip(*chain(*prompts), strict=False))
    shared = sum(1 for _ in alike)
    means = [_mean_loss(forward, part, max(1, shared), max_tokens) for part in prompts]
    if means[0] is None or means[1] is None:
        return False
    return means[1] - means[0] >= LEARNED


def _mean_loss(forward: Forward, prompts: Sequence[tuple[int, ...]], shared: int, max_tokens: int) -> float | None:
    """Nats per token of the prompts after their first `shared` tokens; None where nothing is left."""
    longer = [prompt for prompt in prompts if len(prompt) > shared]
    if not longer:
        return None
    read = [
        Chunk(LongTensor(prompt), BoolTensor(torch.arange(len(prompt)) >= shared), number)
        for number, prompt in enumerate(longer)
    ]
    with torch.no_grad():
        return float(losses(forward, read, max_tokens=max_tokens).double().mean())


def _first_tokens(chunks: Sequence[Chunk]) -> list[tuple[int, ...]]:
    """Of each record the tokens before the first that is scored."""
    first_chunks = {chunk.record: chunk for chunk in reversed(chunks)}
    return [tuple(chunk.ids[: int(chunk.scored.int().argmax())].tolist()) for chunk in first_chunks.values()]
