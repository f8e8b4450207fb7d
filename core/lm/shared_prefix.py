"""Variants of one text: their common prefix goes through the model once, and each goes on from its keys and values."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import torch
from torch import BoolTensor, LongTensor, Tensor
from transformers import Cache, PreTrainedModel
from transformers.cache_utils import DynamicLayer

from core.lm.batch_layout import trial_length
from core.lm.data import Chunk
from core.lm.equivalence import is_close, plain_logits, trial_records
from core.lm.errors import out_of_memory
from core.lm.float32_compute import computing_in_float32
from core.lm.forward import Forward
from core.lm.losses import at_least_float32

_LEAST_SAVED = 1 / 8
"""The share of a group's tokens that a shared prefix must save: without it, records go together without padding."""
_TRIED: WeakKeyDictionary[PreTrainedModel, tuple[int, bool]] = WeakKeyDictionary()
"""Tokens of the longest text that each model was tried on, and whether its cache may be shared."""


@dataclass(frozen=True, eq=False)
class SharedStates:
    """The states that the scored tokens of variants are predicted from."""

    prefix: Tensor
    """(P, H), for the P scored tokens of the common prefix."""
    rest: list[Tensor]
    """(N, H) of each variant, for its N scored tokens after the prefix."""


def shared_length(forward: Forward, chunks: Sequence[Chunk]) -> int:
    """Returns how many tokens of the variants, one chunk each, are read once for all; 0: each is read by itself.

    It is 0 where that saves little, and for a model whose cache is not plain keys and values, one row for each text.
    """
    length = _common_length(chunks) - 1  # each variant reads the last common token, so that it has one to read
    if length < 1:
        return 0
    longest = max(len(chunk.ids) for chunk in chunks)
    apart = sum(len(chunk.ids) for chunk in chunks)
    together = length + len(chunks) * (longest - length)  # rows are padded
    if together > (1 - _LEAST_SAVED) * apart or not _may_share(forward, longest):
        return 0
    return length


def states_of_variants(forward: Forward, chunks: Sequence[Chunk], length: int, max_tokens: int) -> SharedStates:
    """Runs variants that share their first `length` tokens, in batches of at most `max_tokens` tokens."""
    forward.count_read([0, *[length] * len(chunks)], [length, *(len(chunk.ids) for chunk in chunks)])
    return _states(forward, chunks, length, max_tokens)


def _states(forward: Forward, chunks: Sequence[Chunk], length: int, max_tokens: int) -> SharedStates:
    prefix, cache = _run(forward, chunks[0].ids[None, :length], None)
    assert cache is not None
    scored = chunks[0].scored[1 : length + 1].nonzero()[:, 0].to(forward.device)
    width = max(len(chunk.ids) for chunk in chunks) - length
    rows = max(1, max_tokens // width)
    rest: list[Tensor] = []
    for start in range(0, len(chunks), rows):
        batch = chunks[start : start + rows]
        ids = torch.zeros(len(batch), width, dtype=torch.long)
        for row, chunk in enumerate(batch):
            ids[row, : len(chunk.ids) - length] = chunk.ids[length:]
        repeated = copy.deepcopy(cache)
        repeated.batch_repeat_interleave(len(batch))
        states, _ = _run(forward, ids, repeated, length)
        for row, chunk in enumerate(batch):
            rest.append(states[row, chunk.scored[length + 1 :].nonzero()[:, 0].to(forward.device)])
    return SharedStates(prefix[0, scored], rest)


def _common_length(chunks: Sequence[Chunk]) -> int:
    """Returns how many first tokens are the same, and scored or not scored alike, in all chunks."""
    shortest = min(len(chunk.ids) for chunk in chunks)
    ids = torch.stack([chunk.ids[:shortest] for chunk in chunks])
    scored = torch.stack([chunk.scored[:shortest] for chunk in chunks])
    same = ((ids == ids[0]) & (scored == scored[0])).all(0)
    return int(same.long().cumprod(0).sum())


def _may_share(forward: Forward, longest: int) -> bool:
    """Whether texts of up to `longest` tokens that share a cache get what each gets alone."""
    if forward.one_by_one or forward.factors_change_within(longest):
        return False
    length = trial_length(forward.model, longest)
    tried, bears = _TRIED.get(forward.model, (0, True))
    if bears and tried < length:
        bears = _agrees(forward, length)
        _TRIED[forward.model] = length, bears
    return bears


@torch.no_grad()
def _agrees(forward: Forward, length: int) -> bool:
    """Whether two texts, one of them shorter, that share their beginning get plain transformers' predictions."""
    model = forward.model
    ids, other = trial_records(model, [length, length])
    shared = max(1, length // 2)
    shorter = torch.cat([ids[: shared + 1], other[shared + 1 : max(shared + 2, length - 3)]])
    chunks = [Chunk(LongTensor(text.cpu()), BoolTensor(torch.arange(len(text)) > shared), 0) for text in (ids, shorter)]
    try:
        with computing_in_float32(model):
            states = _states(forward, chunks, shared, 2 * length).rest
            logits = [forward.logits(rows) for rows in states]
    except Exception as error:  # an architecture that cannot run so may raise anything
        if out_of_memory(error):
            raise
        return False
    return all(
        is_close(rows, plain_logits(model, text)[shared:-1], model, text)
        for rows, text in zip(logits, (ids, shorter), strict=True)
    )


def _run(forward: Forward, ids: Tensor, cache: Cache | None, before: int = 0) -> tuple[Tensor, Cache | None]:
    """Returns the states (B, T, H) of ids (B, T), which follow `before` tokens in the cache, and the cache.

    Raises ValueError where the model keeps another kind of cache.
    """
    part = forward.model.base_model if forward.head is not None else forward.model
    positions = torch.arange(before, before + ids.shape[1], device=forward.device)[None].expand(len(ids), -1)
    with forward.precision():
        output = part(input_ids=ids.to(forward.device), past_key_values=cache, position_ids=positions, use_cache=True)
    kept = getattr(output, "past_key_values", None)
    if not isinstance(kept, Cache) or any(type(layer) is not DynamicLayer for layer in kept.layers):
        raise ValueError("this model's cache is not plain keys and values")
    states = output.last_hidden_state if forward.head is not None else output.logits
    return at_least_float32(states), kept
