"""Attention within records that lie behind each other in one row, so that no padding goes through the model.

Registered with transformers under `NAME`; whoever passes `record_lengths` to a model's forward gets it, every other
call gets what `sdpa` does.
"""

from itertools import groupby
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

NAME = "within_records"


def within_records(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    record_lengths: tuple[int, ...] | None = None,
    scaling: float | None = None,
    sliding_window: int | None = None,
    **options: Any,
) -> tuple[Tensor, None]:
    """Causal attention of each record with itself: query (1, heads, T, d), key and value (1, their heads, T, d), T the
    sum of `record_lengths` -> (1, T, heads, d). With a sliding window a token sees so many tokens, itself included.

    Raises ValueError for a model whose attention is not plain softmax(qk) v.
    """
    if record_lengths is None:
        found, _ = sdpa_attention_forward(
            module, query, key, value, attention_mask, scaling=scaling, sliding_window=sliding_window, **options
        )
        return found, None
    if (
        options.get("softcap") is not None
        or options.get("s_aux") is not None
        or options.get("position_bias") is not None
    ):
        raise ValueError("this attention caps or biases its scores")
    runs = [(length, len(list(same))) for length, same in groupby(record_lengths)]
    sizes = [length * count for length, count in runs]
    parts = []
    for (length, count), *states in zip(
        runs, *(torch.split(states.transpose(1, 2), sizes, dim=1) for states in (query, key, value)), strict=True
    ):
        # records of one length that follow each other are a batch, without a copy
        q, k, v = (one.reshape(count, length, *one.shape[2:]).transpose(1, 2) for one in states)
        band = _band(length, sliding_window, q.device)
        found = functional.scaled_dot_product_attention(
            q, k, v, attn_mask=band, is_causal=band is None, scale=scaling, enable_gqa=q.shape[1] != k.shape[1]
        )
        parts.append(found.transpose(1, 2).reshape(1, count * length, *found.shape[1::2]))
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1), None


def _band(length: int, window: int | None, device: torch.device) -> Tensor | None:
    """Which of the tokens before it each token sees: (T, T); None: all of them."""
    if window is None or length <= window:
        return None
    place = torch.arange(length, device=device)
    back = place[:, None] - place[None, :]
    return (back >= 0) & (back < window)


AttentionInterface.register(NAME, within_records)
AttentionMaskInterface.register(NAME, sdpa_mask)
