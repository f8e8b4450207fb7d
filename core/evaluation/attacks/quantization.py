"""Simulated weight-only quantisation: weights rounded to the values that an INT8 or INT4 copy of the model has.

Weight-only quantised inference leaves activations as they are and multiplies them by these very numbers. So a forward
pass with the rounded weights gives the copy's figures on any device, without its kernels. Weights are rounded as
torchao does (`Int8WeightOnlyConfig`, `IntxWeightOnlyConfig`), to nearest and without calibration.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

_AT_ONCE = 1 << 24
"""Weights that are rounded at a time: intermediate tensors take a few times their memory."""
_SMALLEST = torch.finfo(torch.float32).eps
"""The smallest scale, so that a group of zeros has one too."""


def int8(weight: Tensor) -> Tensor:
    """(out, in) -> (out, in): each row s * q, q of -128..127 and nearest to w / s, s = max |w| / 127.5."""
    scale = (weight.abs().amax(1, keepdim=True) / 127.5).clamp(min=_SMALLEST)
    return (weight * (1 / scale)).round().clamp(-128, 127) * scale


def int4(weight: Tensor, group: int) -> Tensor:
    """(out, in) -> (out, in): each `group` neighbours of a row s * (q - z), q of 0..15 and nearest to w / s + z.

    s = (high - low) / 15 and z = -low / s, rounded, from the group's highest and lowest weight or 0, so that 0 stays 0.
    Where `group` does not divide `in`, a row's last group is smaller.
    """
    rows, width = weight.shape
    # padding with zeros changes neither minimum nor maximum
    groups = functional.pad(weight, (0, -width % group)).view(rows, -1, group)
    low, high = groups.amin(2, keepdim=True).clamp(max=0), groups.amax(2, keepdim=True).clamp(min=0)
    scale = ((high - low) / 15).clamp(min=_SMALLEST)
    zero = (-(low / scale).round()).clamp(0, 15)
    rounded = ((groups * (1 / scale)).round().add(zero).clamp(0, 15) - zero) * scale
    return rounded.view(rows, -1)[:, :width]


@torch.no_grad()
def round_weights(model: PreTrainedModel, rounded: Callable[[Tensor], Tensor]) -> float:
    """Replaces each linear layer's weight, (out, in) float32, by `rounded` of it.

    Embeddings and head are skipped: quantised copies usually keep them as they are. Returns the share of all other
    matrices' weights that were rounded. It is under 1 where, for example, a model keeps its experts in one tensor of
    three dimensions, which is no linear layer.
    """
    skipped = {id(module.weight) for module in model.modules() if isinstance(module, nn.Embedding)}
    if (head := model.get_output_embeddings()) is not None:
        skipped.add(id(head.weight))
    done = 0
    for layer in model.modules():
        if not isinstance(layer, nn.Linear | Conv1D) or id(layer.weight) in skipped:
            continue
        weight = layer.weight.T if isinstance(layer, Conv1D) else layer.weight  # Conv1D holds (in, out)
        for rows in weight.split(max(1, _AT_ONCE // weight.shape[1])):
            rows.copy_(rounded(rows.float()))
        done += weight.numel()
    matrices = [weight for weight in model.parameters() if weight.dim() > 1 and id(weight) not in skipped]
    return done / max(1, sum(int(weight.numel()) for weight in matrices))
