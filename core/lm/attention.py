"""Attention within records that lie behind each other in one row, so that no padding goes through the model.

It is registered with transformers under `NAME`. A forward that is given `packed_records` uses it; every other call does
what `sdpa` does.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedConfig, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from core.lm import varlen

NAME = "within_records"


@dataclass(frozen=True)
class PackedRecords:
    """Records behind each other in one row.

    `masked`: the model's own masks say which earlier tokens of its record a token sees. Else it sees all of them, or
    those of the sliding window that the model names to its attention.
    """

    lengths: tuple[int, ...]
    masked: bool = False
    _offsets: dict[torch.device, Tensor] = field(default_factory=dict, compare=False, repr=False)

    def offsets(self, device: torch.device) -> Tensor:
        """Returns where each record begins, and where the last record ends: (records + 1,) int32.

        The tensor is copied to the device once, for all layers.
        """
        if device not in self._offsets:
            self._offsets[device] = torch.tensor([0, *self.lengths]).cumsum(0).int().to(device)
        return self._offsets[device]

    def runs(self) -> list[tuple[int, int]]:
        """Returns (length, count) for each run of records of one length that follow each other."""
        return [(length, len(list(same))) for length, same in groupby(self.lengths)]


_MASKING: ContextVar[PackedRecords | None] = ContextVar("masking", default=None)
_BANDS = "_bands_of_records"
"""The attribute of a stand-in mask that holds, for each run of records, which tokens see which."""


def within_records(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    packed_records: PackedRecords | None = None,
    scaling: float | None = None,
    sliding_window: int | None = None,
    **options: Any,
) -> tuple[Tensor, None]:
    """Computes causal attention of each record with itself.

    query (1, heads, T, d), key and value (1, their heads, T, d), T the sum of the records' lengths -> (1, T, heads, d).
    With a sliding window a token sees that many tokens, itself included.
    Raises ValueError for a model whose attention is not plain softmax(qk) v, or that remakes its masks.
    """
    if packed_records is None:
        states, _ = sdpa_attention_forward(
            module, query, key, value, attention_mask, scaling=scaling, sliding_window=sliding_window, **options
        )
        return states, None
    if (
        options.get("softcap") is not None
        or options.get("s_aux") is not None
        or options.get("position_bias") is not None
    ):
        raise ValueError("this attention caps or biases its scores")
    runs = packed_records.runs()
    if packed_records.masked:
        bands = getattr(attention_mask, _BANDS, None)
        if bands is None:
            raise ValueError("this model changes the masks that it makes")
    else:
        longest = max(packed_records.lengths)
        unwindowed = sliding_window is None or longest <= sliding_window
        if len(runs) > 1 and unwindowed and varlen.supports(query, key, value):
            offsets = packed_records.offsets(query.device)
            return varlen.varlen_attention(query, key, value, offsets, longest, scaling), None
        bands = [_band(length, sliding_window, query.device) for length, _ in runs]
    sizes = [length * count for length, count in runs]
    parts = []
    for (length, count), band, *pieces in zip(
        runs, bands, *(torch.split(states.transpose(1, 2), sizes, dim=1) for states in (query, key, value)), strict=True
    ):
        # records of one length that follow each other are a batch, without a copy
        q, k, v = (piece.reshape(count, length, *piece.shape[2:]).transpose(1, 2) for piece in pieces)
        attended = functional.scaled_dot_product_attention(
            q, k, v, attn_mask=band, is_causal=band is None, scale=scaling, enable_gqa=q.shape[1] != k.shape[1]
        )
        parts.append(attended.transpose(1, 2).reshape(1, count * length, *attended.shape[1::2]))
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1), None


def _band(length: int, window: int | None, device: torch.device) -> Tensor | None:
    """Returns which tokens each token sees: (T, T) bool; None: all tokens before it."""
    if window is None or length <= window:
        return None
    place = torch.arange(length, device=device)
    distance = place[:, None] - place[None, :]
    return (distance >= 0) & (distance < window)


@contextmanager
def masking(records: PackedRecords) -> Iterator[None]:
    """Within it, the masks that a model makes are those within these records, each from the model's own rule."""
    token = _MASKING.set(records)
    try:
        yield
    finally:
        _MASKING.reset(token)


def mask_within_records(*args: Any, **options: Any) -> Tensor | None:
    """Stands in for transformers' `sdpa_mask`.

    Within `masking` it returns a mask of one element that carries the records' bands, so that no (T, T) mask of the
    whole row is made.
    """
    records = _MASKING.get()
    if records is None:
        mask: Tensor | None = sdpa_mask(*args, **options)
        return mask
    if args or options.get("attention_mask") is not None or options["q_length"] != sum(records.lengths):
        raise ValueError("this model makes masks for other tokens than those it was given")
    bands: list[Tensor | None] = []
    start = 0
    for length, count in records.runs():
        masks = []
        for _ in range(count):
            block = {"batch_size": 1, "q_length": length, "kv_length": length, "q_offset": start, "kv_offset": start}
            masks.append(sdpa_mask(**{**options, **block, "allow_is_causal_skip": False}))
            start += length
        band = torch.cat(masks)  # (count, 1, length, length)
        causal = torch.ones(length, length, dtype=torch.bool, device=band.device).tril()
        bands.append(None if torch.equal(band, causal.expand_as(band)) else band)
    carrier = torch.empty(1, 1, 1, 1, device=options["device"])
    setattr(carrier, _BANDS, bands)
    return carrier


def switch_attention(model: PreTrainedModel) -> bool:
    """Sets the attention of the model and all its parts to this module's; False, without a change, if that fails."""
    before = attention_implementations(model)
    if any(name not in ("sdpa", "eager", NAME, None) for _, name in before):
        return False  # a kernel that was chosen for this model
    if model.config._attn_implementation != NAME:
        try:
            model.set_attn_implementation(NAME)
        except (ImportError, ValueError):
            restore_attention(before)
            return False
    if model.config.get_text_config()._attn_implementation != NAME:
        restore_attention(before)
        return False
    return True


def is_switched(model: PreTrainedModel) -> bool:
    """Whether the model's attention is this module's."""
    return bool(model.config._attn_implementation == NAME)


Implementations = list[tuple[PreTrainedConfig, str | None]]


def attention_implementations(model: PreTrainedModel) -> Implementations:
    """Returns every config of the model and of its parts, with the name of its attention."""
    queue = [module.config for module in model.modules() if isinstance(module, PreTrainedModel)]
    configs: dict[int, PreTrainedConfig] = {}
    while queue:
        config = queue.pop()
        if id(config) not in configs:
            configs[id(config)] = config
            parts = (getattr(config, name, None) for name in config.sub_configs)
            queue += [part for part in parts if isinstance(part, PreTrainedConfig)]
    return [(config, config._attn_implementation_internal) for config in configs.values()]


def restore_attention(before: Implementations) -> None:
    """Sets every config's attention back to the name it had."""
    for config, name in before:
        config._attn_implementation_internal = name


AttentionInterface.register(NAME, within_records)
AttentionMaskInterface.register(NAME, mask_within_records)
