"""What a model says after token ids, many rows at a time: greedily, or sampled at temperature 1.

A row gets what it would get by itself, whatever it is written together with: rows are filled up on their left and the
filling is masked, which is tried on a few tokens first; where a model does not bear it, rows of one length go together,
and a row whose own length chooses its rotary factors goes alone.
"""

import random
import sys
from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import Cache, PreTrainedModel, PreTrainedTokenizerBase
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

from core.evaluation.eval_context import EvalContext
from core.evaluation.measurement import Budget
from core.lm.chunked_head import rows_per_slice
from core.lm.data import bucket_by_length, turn_end_token
from core.lm.decoding import left_padded
from core.lm.forward import Forward
from core.lm.model import context_length
from core.lm.rotary import context_scaling
from core.lm.token_statistics import measuring_precision

_WITHOUT_GRADIENTS = 4
"""How many times the tokens of a training's forward are held at a time: keys and values alone stay in memory."""


def continuations(
    context: EvalContext,
    prefixes: Sequence[Sequence[int]],
    lengths: Sequence[int],
    *,
    samples: int = 0,
    seed: int = 0,
    budget: Budget | None = None,
) -> list[list[list[int]]]:
    """`continued` of the context's model: as many lists as prefixes, of `samples` (greedy: one) lists of token ids.

    An empty list stands for a prefix that was not reached before the budget's time was up. Raises what a wish to stop
    raises.
    """

    def never() -> bool:
        context.heard()
        return False

    return continued(
        context.model,
        context.tokenizer,
        prefixes,
        lengths,
        samples=samples,
        seed=seed,
        max_tokens=context.training.micro_batch_tokens * _WITHOUT_GRADIENTS,
        over=never if budget is None else budget.over,
    )


@torch.no_grad()
def continued(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prefixes: Sequence[Sequence[int]],
    lengths: Sequence[int],
    *,
    samples: int = 0,
    seed: int = 0,
    max_tokens: int,
    over: Callable[[], bool] = lambda: False,
) -> list[list[list[int]]]:
    """At most `lengths[i]` tokens after `prefixes[i]`, up to the end of sequence, which is not among them.

    `samples` 0: one list, the most probable token at each place; else so many lists, drawn at temperature 1 from all
    of the vocabulary. A draw depends on the seed (>= 0), the prefix and the sample's number alone. What does not fit
    in the model's context is cut from the prefix's left; after an empty prefix nothing is said. Rows are written
    `max_tokens` at a time, the longest possible counted; `over` is asked before each time, and once it says yes, what
    is left has an empty list instead of its continuations.
    """
    forward = Forward(model, autocast=measuring_precision(model))
    # a text that was cut to its end would be continued otherwise than transformers continues it
    context = int(context_length(model, sys.maxsize) * context_scaling(model.config))
    ends = end_tokens(model, tokenizer)
    counts = [min(count, context - 1) for count in lengths]
    kept = [list(ids)[-(context - count) :] for ids, count in zip(prefixes, counts, strict=True)]
    each = max(1, samples)
    found: list[list[list[int]]] = [[[] for _ in range(each)] for _ in prefixes]
    spoken = [place for place, ids in enumerate(kept) if ids and counts[place] > 0]
    batches = _batches(forward, spoken, kept, counts, each, max_tokens)
    random.Random(seed).shuffle(batches)  # what is left out for lack of time should not be the short ones
    while batches and not over():
        batch = batches.pop()
        most = max(counts[place] for place in batch)
        chances = None
        if samples:
            drawn = [_chances([seed, number, *prefixes[place]], most) for place in batch for number in range(each)]
            chances = torch.from_numpy(np.stack(drawn))
        said = _written(forward, [kept[place] for place in batch], [counts[place] for place in batch], ends, chances)
        for at, place in enumerate(batch):
            found[place] = said[at * each : (at + 1) * each]
    for place in (place for batch in batches for place in batch):
        found[place] = []
    return found


def _chances(seed: list[int], count: int) -> NDArray[np.float64]:
    return np.random.default_rng(seed).random(count)


def end_tokens(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    """The tokens that end a sequence: the tokenizer's, its chat template's, and those that the model's configuration
    names."""
    configured = getattr(model.generation_config, "eos_token_id", None)
    named = configured if isinstance(configured, list) else [configured]
    return frozenset(int(one) for one in [*named, tokenizer.eos_token_id, turn_end_token(tokenizer)] if one is not None)


def _batches(
    forward: Forward, places: list[int], prefixes: list[list[int]], counts: list[int], each: int, max_tokens: int
) -> list[list[int]]:
    """The prefixes' places, each once, in batches that go through the model together, each place in `each` rows."""
    way = forward.prepare_decoding(max((len(prefixes[place]) + counts[place] for place in places), default=1))
    by_length: dict[object, list[int]] = {}
    for place in places:
        length = len(prefixes[place])
        if way.alone or forward.factors_change_within(length + counts[place]):
            key: object = ("alone", place)
        else:
            key = 0 if way.fills else length
        by_length.setdefault(key, []).append(place)
    groups = list(by_length.values())

    def shape(place: int) -> tuple[int, int]:
        return each, len(prefixes[place]) + counts[place]

    most = max(1, rows_per_slice(forward.vocabulary) // each)
    found = [batch for group in groups for batch in bucket_by_length(group, shape, max_tokens)]
    return [batch[start : start + most] for batch in found for start in range(0, len(batch), most)]


def _written(
    forward: Forward,
    prefixes: Sequence[list[int]],
    counts: Sequence[int],
    ends: frozenset[int],
    chances: Tensor | None,
) -> list[list[int]]:
    """What follows each of P prefixes, B / P times each, one prefix after the other: B lists of tokens.

    chances (B, at least the largest count) in [0, 1) are one for each token; None: once, the most probable tokens.
    """
    each = 1 if chances is None else len(chances) // len(prefixes)
    ids, present = left_padded(prefixes, max(counts), forward.device)  # (P, T), (P, T + L)
    gaps, width = not bool(present.all()), ids.shape[1]
    wanted = [count for count in counts for _ in range(each)]
    said: list[list[int]] = [[] for _ in wanted]
    rows = list(range(len(wanted)))  # whose keys and values the cache holds
    writing = set(rows)
    cache: Cache | None = None
    step = ids
    for place in range(max(counts)):
        if forward.rereads_at(width + place):
            step, cache = ids, None
        logits, cache = forward.next_logits(step, cache, present[:, : width + place] if gaps else None)
        if place == 0 and each > 1:
            present, ids = present.repeat_interleave(each, 0), ids.repeat_interleave(each, 0)
            if cache is not None and _by_rows(cache):  # a prefix is read once
                cache.batch_repeat_interleave(each)
                logits = logits.repeat_interleave(each, 0)
            else:
                logits, cache = forward.next_logits(ids, None, present[:, :width] if gaps else None)
        chosen = logits.argmax(-1) if chances is None else _drawn(logits, chances[rows, place])  # (B,)
        for row, token in zip(rows, chosen.tolist(), strict=True):
            if row not in writing:
                continue
            if token not in ends:
                said[row].append(token)
            if token in ends or len(said[row]) == wanted[row]:
                writing.remove(row)
        if not writing:
            break
        if 2 * len(writing) <= len(rows) and cache is not None and _by_rows(cache):
            kept = torch.tensor([at for at, row in enumerate(rows) if row in writing], device=forward.device)
            cache.batch_select_indices(kept)
            rows = [row for row in rows if row in writing]
            chosen, present, ids = chosen[kept], present[kept], ids[kept]
        ids = torch.cat([ids, chosen[:, None]], dim=1)
        # a model that keeps nothing reads all of it again
        step = chosen[:, None] if cache is not None else ids
    return said


def _by_rows(cache: Cache) -> bool:
    """Whether it is keys and values alone, so that rows of it can be taken and repeated."""
    layers: list[object] = getattr(cache, "layers", None) or []  # a cache of other caches has none
    return bool(layers) and all(type(layer) in (DynamicLayer, DynamicSlidingWindowLayer) for layer in layers)


def _drawn(logits: Tensor, chances: Tensor) -> Tensor:
    """One token of each row (B, V) from a chance (B,) in [0, 1): the first whose cumulated probability is above it."""
    reached = torch.softmax(logits, dim=-1, dtype=torch.float64).cumsum(-1)
    wanted = chances.to(logits.device)[:, None] * reached[:, -1:]
    return torch.searchsorted(reached, wanted, right=True)[:, 0].clamp(max=logits.shape[1] - 1)
