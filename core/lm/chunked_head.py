"""The head and a loss over its logits, slice by slice: the logits of all tokens never stand in memory."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx
from torch.nn import functional

SliceLoss = Callable[[Tensor, slice], Tensor]
"""From a slice's logits (n, V), at least float32, and its place among the rows, to its part of the loss, a scalar."""

LOGITS_PER_SLICE = 7 << 20
"""Elements of one slice of logits: 28 MB, which stay near the processor while the loss goes over them, and are small
enough to be kept for the next slice (core.lm.memory): with 32 MB a step took 8 % longer at 32,000 words."""


def rows_per_slice(vocabulary: int) -> int:
    """How many rows of logits a slice has at most."""
    return max(1, LOGITS_PER_SLICE // vocabulary)


def slices(start: int, stop: int, rows: int) -> Iterator[slice]:
    """[start, stop) in slices of at most `rows`."""
    for first in range(start, stop, rows):
        yield slice(first, min(first + rows, stop))


def slices_of_groups(start: int, counts: Sequence[int], rows: int) -> Iterator[slice]:
    """The rows from `start` on, which come in groups of `counts`, in slices of whole groups, at most `rows` where one
    group has no more."""
    stop = start
    for count in counts:
        if stop > start and stop + count - start > rows:
            yield slice(start, stop)
            start = stop
        stop += count
    if stop > start:
        yield slice(start, stop)


def head_logits(hidden: Tensor, weight: Tensor, bias: Tensor | None, dtype: torch.dtype | None) -> Tensor:
    """(n, H) -> (n, V), multiplied in `dtype` (None: as they are), returned in at least float32."""
    if dtype is not None:
        hidden, weight, bias = hidden.to(dtype), weight.to(dtype), None if bias is None else bias.to(dtype)
    found = functional.linear(hidden, weight, bias)
    return found.to(torch.promote_types(found.dtype, torch.float32))


def sliced_loss(
    hidden: Tensor, head: nn.Linear, cuts: Sequence[slice], value: SliceLoss, *, dtype: torch.dtype | None
) -> Tensor:
    """The sum of value(logits of a slice, slice) over `cuts`, which cover hidden (N, H): a scalar with gradients.

    A slice's gradient is found right behind its loss, while its logits are there: one pass, and no second product.
    `dtype` is that of the products with the head's weights; everything that is summed is in at least float32.
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
        used = weight if dtype is None else weight.to(dtype)  # cast once, not once a slice
        of_hidden = torch.zeros_like(hidden) if needs_hidden else None
        # in bfloat16 a slice's part would be lost in the sum of those before it
        of_weight = torch.zeros_like(weight, dtype=_wide(weight)) if needs_weight else None
        of_bias = torch.zeros_like(bias, dtype=_wide(bias)) if bias is not None and needs_bias else None
        total = torch.zeros((), dtype=torch.promote_types(hidden.dtype, torch.float32), device=hidden.device)
        for cut in cuts:
            part = hidden[cut] if dtype is None else hidden[cut].to(dtype)
            leaf = (
                head_logits(part, used, None if bias is None else bias.to(used.dtype), None).detach().requires_grad_()
            )
            with torch.enable_grad():
                loss = value(leaf, cut)
            total += loss.detach()
            if not loss.requires_grad:
                continue  # a part that the model does not reach
            (slope,) = torch.autograd.grad(loss, leaf)
            del leaf, loss
            if of_bias is not None:
                of_bias += slope.sum(0)
            slope = slope.to(used.dtype)
            if of_hidden is not None:
                of_hidden[cut] = slope @ used
            if of_weight is not None:
                if dtype is None:
                    of_weight.addmm_(slope.T, part)
                else:
                    of_weight += slope.T @ part
        ctx.save_for_backward(
            of_hidden,
            None if of_weight is None else of_weight.to(weight.dtype),
            None if of_bias is None or bias is None else of_bias.to(bias.dtype),
        )
        return total

    @staticmethod
    def backward(ctx: FunctionCtx, *outer: Tensor) -> tuple[Tensor | None, ...]:
        found = ctx.saved_tensors  # type: ignore[attr-defined]
        return *(None if one is None else one * outer[0].to(one.dtype) for one in found), None, None, None


def _wide(tensor: Tensor) -> torch.dtype:
    return torch.promote_types(tensor.dtype, torch.float32)
