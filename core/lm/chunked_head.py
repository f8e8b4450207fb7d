"""The head and a loss over its logits, slice by slice, so that the logits of all tokens never stand in memory."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx
from torch.nn import functional

from core.lm.block_sizes import LOGITS_PER_SLICE

SliceLoss = Callable[[Tensor, slice], Tensor]
"""Computes a slice's part of the loss, a scalar, from its logits (n, V), at least float32, and its place among the
rows."""


def rows_per_slice(vocabulary: int) -> int:
    """Returns how many rows of logits a slice has at most."""
    return max(1, LOGITS_PER_SLICE // vocabulary)


def slices(start: int, stop: int, rows: int) -> Iterator[slice]:
    """Yields [start, stop) in slices of at most `rows`."""
    for first in range(start, stop, rows):
        yield slice(first, min(first + rows, stop))


def slices_of_groups(start: int, counts: Sequence[int], rows: int) -> Iterator[slice]:
    """Yields the rows from `start` on in slices of whole groups, whose sizes are `counts`.

    A slice has at most `rows` rows, or one group that has more.
    """
    stop = start
    for count in counts:
        if stop > start and stop + count - start > rows:
            yield slice(start, stop)
            start = stop
        stop += count
    if stop > start:
        yield slice(start, stop)


def head_logits(hidden: Tensor, weight: Tensor, bias: Tensor | None, dtype: torch.dtype | None) -> Tensor:
    """Returns the logits: (n, H) -> (n, V), multiplied in `dtype` (None: that of the tensors), in at least float32."""
    if dtype is not None:
        hidden, weight, bias = hidden.to(dtype), weight.to(dtype), None if bias is None else bias.to(dtype)
    logits = functional.linear(hidden, weight, bias)
    return logits.to(torch.promote_types(logits.dtype, torch.float32))


def sliced_loss(
    hidden: Tensor, head: nn.Linear, cuts: Sequence[slice], value: SliceLoss, *, dtype: torch.dtype | None
) -> Tensor:
    """Sums value(logits of a slice, slice) over `cuts`, which cover hidden (N, H), to a scalar with gradients.

    A slice's gradient is computed right after its loss, while its logits exist: one pass, and no second product.
    `dtype` is that of the products with the head's weights; sums are in at least float32.
    """
    total: Tensor = _Sliced.apply(hidden, head.weight, head.bias, cuts, value, dtype)  # type: ignore[no-untyped-call]
    return total


class _Sliced(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        cuts: Sequence[slice],
        value: SliceLoss,
        dtype: torch.dtype | None,
    ) -> Tensor:
        needs_hidden, needs_weight, needs_bias = ctx.needs_input_grad[:3]
        cast_weight = weight if dtype is None else weight.to(dtype)  # cast once, not once a slice
        hidden_gradient = torch.zeros_like(hidden) if needs_hidden else None
        # in bfloat16 a slice's part would be lost in the sum
        weight_gradient = torch.zeros_like(weight, dtype=_sum_dtype(weight)) if needs_weight else None
        bias_gradient = torch.zeros_like(bias, dtype=_sum_dtype(bias)) if bias is not None and needs_bias else None
        total = torch.zeros((), dtype=torch.promote_types(hidden.dtype, torch.float32), device=hidden.device)
        for cut in cuts:
            part = hidden[cut] if dtype is None else hidden[cut].to(dtype)
            leaf = head_logits(part, cast_weight, None if bias is None else bias.to(cast_weight.dtype), None)
            leaf = leaf.detach().requires_grad_()
            with torch.enable_grad():
                loss = value(leaf, cut)
            total += loss.detach()
            if not loss.requires_grad:
                continue  # this part of the loss does not depend on the logits
            (gradient,) = torch.autograd.grad(loss, leaf)
            del leaf, loss
            if bias_gradient is not None:
                bias_gradient += gradient.sum(0)
            gradient = gradient.to(cast_weight.dtype)
            if hidden_gradient is not None:
                hidden_gradient[cut] = gradient @ cast_weight
            if weight_gradient is not None:
                if dtype is None:
                    weight_gradient.addmm_(gradient.T, part)
                else:
                    weight_gradient += gradient.T @ part
        ctx.save_for_backward(
            hidden_gradient,
            None if weight_gradient is None else weight_gradient.to(weight.dtype),
            None if bias_gradient is None or bias is None else bias_gradient.to(bias.dtype),
        )
        return total

    @staticmethod
    def backward(ctx: FunctionCtx, *outer: Tensor) -> tuple[Tensor | None, ...]:
        gradients = ctx.saved_tensors  # type: ignore[attr-defined]
        scaled = (None if gradient is None else gradient * outer[0].to(gradient.dtype) for gradient in gradients)
        return *scaled, None, None, None


def _sum_dtype(tensor: Tensor) -> torch.dtype:
    return torch.promote_types(tensor.dtype, torch.float32)
