"""Generates tokens after prompts: batches of rows, greedily or sampled, with a cache where the model has one.

This module draws no random numbers. A caller that samples passes one uniform number for each token, so that a row does
not depend on the rows beside it, and each caller has its own rule for seeds.
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice

import torch
from torch import Tensor
from transformers import Cache
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

from core.lm.chunked_head import rows_per_slice
from core.lm.data import bucket_by_length
from core.lm.decoding import left_padded
from core.lm.forward import Forward


@dataclass(frozen=True, eq=False)
class PromptBatch:
    """P prompts that go through the model together, each followed by S rows of new tokens."""

    prompts: Sequence[Sequence[int]]
    """Token ids; no prompt is empty."""
    counts: Sequence[int]
    """The largest number of new tokens for each prompt."""
    chances: Tensor | None = None
    """(P * S, at least the largest count), uniform in [0, 1). Each chooses one token, in S rows for each prompt, prompt
    by prompt. None: the most probable tokens, in one row for each prompt."""
    greedy: bool = False
    """Whether the first row of each prompt has the most probable tokens, whatever its chances."""


def plan_batches(
    forward: Forward,
    prompts: Sequence[Sequence[int]],
    counts: Sequence[int],
    *,
    samples: int = 1,
    max_tokens: int,
) -> list[list[int]]:
    """Returns the prompts' numbers in batches of at most `max_tokens`, each prompt in `samples` rows, and prepares the
    model for them.

    Prompts that are empty or have a count of 0 are left out. Rows are counted at their longest possible length. Prompts
    of several lengths share a batch where the model bears padding; a row whose own length chooses its rotary factors
    has a batch of its own.
    """
    numbers = [number for number, prompt in enumerate(prompts) if prompt and counts[number] > 0]
    lengths = {number: len(prompts[number]) + counts[number] for number in numbers}
    mode = forward.prepare_decoding(max(lengths.values(), default=1))
    groups: dict[object, list[int]] = {}
    for number in numbers:
        if mode.one_row or forward.factors_change_within(lengths[number]):
            key: object = ("alone", number)
        else:
            key = 0 if mode.pads_left else len(prompts[number])
        groups.setdefault(key, []).append(number)

    def shape(number: int) -> tuple[int, int]:
        return samples, lengths[number]

    limit = max(1, rows_per_slice(forward.vocabulary) // samples)  # prompts whose logits are held at a time
    batches = [batch for group in groups.values() for batch in bucket_by_length(group, shape, max_tokens)]
    return [batch[start : start + limit] for batch in batches for start in range(0, len(batch), limit)]


def generate_batches(
    forward: Forward,
    batches: Iterable[PromptBatch],
    *,
    ends: Collection[int] = (),
    temperature: float = 1.0,
    precision: torch.dtype | None = torch.float64,
    should_stop: Callable[[], bool] = lambda: False,
) -> dict[int, list[list[int]]]:
    """Generates the rows of each batch, and returns them by the batch's number, in every rank.

    Each rank generates its own share of the batches. `should_stop` is called before each batch; once it returns True,
    the remaining batches are missing from the result. The other parameters are those of `generate`.
    """
    ranks = forward.ranks
    written: dict[int, list[list[int]]] = {}
    for number, batch in islice(enumerate(batches), ranks.rank, None, ranks.count):
        if should_stop():
            break
        written[number] = generate(forward, batch, ends=ends, temperature=temperature, precision=precision)
    return dict(sorted(pair for share in ranks.all_gather(written) for pair in share.items()))


@torch.no_grad()
def generate(
    forward: Forward,
    batch: PromptBatch,
    *,
    ends: Collection[int] = (),
    temperature: float = 1.0,
    precision: torch.dtype | None = torch.float64,
) -> list[list[int]]:
    """Returns the new tokens of each row, without the token of `ends` that ends the row.

    `temperature` and `precision` are those of `draw_tokens`. The caller has prepared the model for the longest row
    (`plan_batches` or `Forward.prepare_decoding`).
    """
    samples = 1 if batch.chances is None else len(batch.chances) // len(batch.prompts)
    chances = None if batch.chances is None else batch.chances.to(forward.device)
    ids, present = left_padded(batch.prompts, max(batch.counts), forward.device)  # (P, T), (P, T + L)
    padded, width = not bool(present.all()), ids.shape[1]
    lengths = [count for count in batch.counts for _ in range(samples)]  # of the rows, once they have ended
    written: list[list[int]] = [[] for _ in lengths]
    rows = list(range(len(lengths)))  # the rows that the cache holds
    unfinished = set(rows)
    first = torch.arange(len(rows), device=forward.device) % samples == 0 if batch.greedy else None
    cache: Cache | None = None
    step = ids
    for position in range(max(lengths)):
        if forward.must_reread_at(width + position):
            step, cache = ids, None
        logits, cache = forward.next_logits(step, cache, present[:, : width + position] if padded else None)
        if position == 0 and samples > 1:
            present, ids = present.repeat_interleave(samples, 0), ids.repeat_interleave(samples, 0)
            if cache is not None and _holds_rows(cache):  # a prompt is read once
                cache.batch_repeat_interleave(samples)
                logits = logits.repeat_interleave(samples, 0)
            else:
                logits, cache = forward.next_logits(ids, None, present[:, :width] if padded else None)
        if chances is None:
            chosen = logits.argmax(-1)  # (B,)
        else:
            chosen = draw_tokens(logits, chances[:, position], temperature=temperature, precision=precision)
            if first is not None:
                chosen = torch.where(first, logits.argmax(-1), chosen)
        ids = torch.cat([ids, chosen[:, None]], dim=1)
        if ends or position + 1 >= min(
            batch.counts
        ):  # else no row can end here, and reading tokens waits for the device
            for row, token in zip(rows, chosen.tolist(), strict=True):
                if row in unfinished and (token in ends or position + 1 == lengths[row]):
                    unfinished.remove(row)
                    lengths[row] = position if token in ends else lengths[row]
            if not unfinished:
                break
            if 2 * len(unfinished) <= len(rows) and cache is not None and _holds_rows(cache):
                _store(written, rows, ids[:, width:])
                kept = torch.tensor([at for at, row in enumerate(rows) if row in unfinished], device=forward.device)
                cache.batch_select_indices(kept)
                rows = [row for row in rows if row in unfinished]
                present, ids = present[kept], ids[kept]
                chances = None if chances is None else chances[kept]
                first = None if first is None else first[kept]
        # a model that keeps no cache reads the whole text again
        step = ids if cache is None else ids[:, -1:]
    _store(written, rows, ids[:, width:])
    return [tokens[:length] for tokens, length in zip(written, lengths, strict=True)]


def draw_tokens(
    logits: Tensor, chances: Tensor, *, temperature: float = 1.0, precision: torch.dtype | None = torch.float64
) -> Tensor:
    """Draws one token for each row: logits (B, V), chances (B,) uniform in [0, 1) -> (B,).

    The token is the first whose cumulated probability at the temperature is above the chance. Probabilities are summed
    in `precision`; None: in that of the logits.
    """
    scaled = logits if temperature == 1.0 else logits / temperature
    cumulated = torch.softmax(scaled, dim=-1, dtype=precision).cumsum(-1)
    # a share of the last sum, since rounding leaves that sum near 1
    bounds = chances.to(cumulated.device, cumulated.dtype)[:, None] * cumulated[:, -1:]
    return torch.searchsorted(cumulated, bounds, right=True)[:, 0].clamp(max=logits.shape[1] - 1)


def _store(written: list[list[int]], rows: Sequence[int], tokens: Tensor) -> None:
    """Puts the rows' tokens so far, (B, n), in their places."""
    for row, row_tokens in zip(rows, tokens.tolist(), strict=True):
        written[row] = row_tokens


def _holds_rows(cache: Cache) -> bool:
    """Whether the cache is keys and values alone, so that its rows can be selected and repeated."""
    layers: list[object] = getattr(cache, "layers", None) or []  # a cache of other caches has none
    return bool(layers) and all(type(layer) in (DynamicLayer, DynamicSlidingWindowLayer) for layer in layers)
