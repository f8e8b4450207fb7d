"""Attention within records by one kernel call for all records of a row, on a GPU that has such a kernel.

On a GPU, starting a small kernel takes longer than running it. 64 records of 63 tokens took 15.1 ms forward and
backward with one call for each record, and 1.1 ms with one call for all (NVIDIA H200, torch 2.11, bfloat16, 32 heads
of 64).
"""

from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional

from core.lm.errors import out_of_memory

_HALF_DTYPES = (torch.bfloat16, torch.float16)
_MAX_HEAD_SIZE, _HEAD_SIZE_MULTIPLE = 256, 8
"""Head sizes that the kernel takes."""
_TOLERANCE = 0.02
"""The largest difference from plain attention that rounding explains, as a share of the largest number."""
_TRIAL_LENGTHS = (5, 17, 3)


def supports(query: Tensor, key: Tensor, value: Tensor) -> bool:
    """Whether the kernel takes states like these, (1, heads, T, d), and computes their attention correctly here."""
    if not query.is_cuda:
        return False
    head_size, dtype = query.shape[-1], _compute_dtype(query)
    if dtype not in _HALF_DTYPES or head_size % _HEAD_SIZE_MULTIPLE or head_size > _MAX_HEAD_SIZE:
        return False
    if not key.shape[-1] == value.shape[-1] == head_size or query.shape[1] % key.shape[1]:
        return False
    return _matches_plain_attention(query.device, dtype, query.shape[1], key.shape[1], head_size)


def varlen_attention(
    query: Tensor, key: Tensor, value: Tensor, offsets: Tensor, longest: int, scaling: float | None
) -> Tensor:
    """Computes causal attention of each record with itself.

    query (1, heads, T, d), key and value (1, key heads, T, d), `offsets` (records + 1,) int32: where each record begins
    and the last record ends -> (1, T, heads, d).
    """
    from torch.nn.attention.varlen import varlen_attn

    dtype, groups = _compute_dtype(query), query.shape[1] // key.shape[1]
    q, k, v = (states[0].transpose(0, 1).to(dtype) for states in (query, key, value))  # (T, heads, d)
    if groups > 1:
        k, v = k.repeat_interleave(groups, dim=1), v.repeat_interleave(groups, dim=1)
    attended = varlen_attn(q, k, v, offsets, offsets, longest, longest, scale=scaling, window_size=(-1, 0))
    assert isinstance(attended, Tensor)
    return attended[None]


def _compute_dtype(states: Tensor) -> torch.dtype:
    """Returns the dtype that attention's products are computed in."""
    device_type = states.device.type
    return torch.get_autocast_dtype(device_type) if torch.is_autocast_enabled(device_type) else states.dtype


@lru_cache
def _matches_plain_attention(
    device: torch.device, dtype: torch.dtype, heads: int, key_heads: int, head_size: int
) -> bool:
    """Whether the kernel's output and gradients are those of one call for each record.

    It is tried once for each device, dtype and shape of heads.
    """
    generator = torch.Generator().manual_seed(0)
    shapes = [(1, count, sum(_TRIAL_LENGTHS), head_size) for count in (heads, key_heads, key_heads, heads)]
    *states, output_gradient = (torch.randn(shape, generator=generator).to(device, dtype) for shape in shapes)
    offsets = torch.tensor([0, *_TRIAL_LENGTHS]).cumsum(0).int().to(device)
    scaling = 0.5 * head_size**-0.5

    def one_call(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return varlen_attention(q, k, v, offsets, max(_TRIAL_LENGTHS), scaling)

    def one_call_per_record(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        records = zip(*(torch.split(states, list(_TRIAL_LENGTHS), dim=2) for states in (q, k, v)), strict=True)
        attended = [
            functional.scaled_dot_product_attention(
                record_q, record_k, record_v, is_causal=True, scale=scaling, enable_gqa=heads != key_heads
            )
            for record_q, record_k, record_v in records
        ]
        return torch.cat(attended, dim=2).transpose(1, 2)

    results = []
    try:
        with torch.enable_grad(), torch.autocast(device.type, enabled=False):
            for attention in (one_call, one_call_per_record):
                inputs = [tensor.clone().requires_grad_() for tensor in states]
                output = attention(*inputs)
                results.append([output, *torch.autograd.grad(output, inputs, output_gradient.transpose(1, 2))])
    except Exception as error:  # a kernel that is not built for this device may raise anything
        if out_of_memory(error):
            raise
        return False
    return all(_close(tensor.float(), expected.float()) for tensor, expected in zip(*results, strict=True))


def _close(tensor: Tensor, expected: Tensor) -> bool:
    return bool((tensor - expected).abs().max() <= _TOLERANCE * expected.abs().max())
