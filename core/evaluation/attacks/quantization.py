"""Weights as an INT8 or INT4 copy of the model has them: rounded to few levels, and back.

Weight-only quantised inference multiplies activations, which it leaves as they are, by these very numbers. So a forward
with them in place of the weights gives its figures on any device, without its kernels. Rounded as torchao does
(`Int8WeightOnlyConfig`, `IntxWeightOnlyConfig`), to nearest and without calibration.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

_AT_ONCE = 1 << 24
"""Weights that are rounded at a time: what is made on the way takes a few times their memory."""
_SMALLEST = torch.finfo(torch.float32).eps
"""The smallest scale: a group of zeros has one, too."""


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
    groups = functional.pad(weight, (0, -width % group)).view(rows, -1, group)  # zeros change no highest, no lowest
    low, high = groups.amin(2, keepdim=True).clamp(max=0), groups.amax(2, keepdim=True).clamp(min=0)
    scale = ((high - low) / 15).clamp(min=_SMALLEST)
    zero = (-(low / scale).round()).clamp(0, 15)
    rounded = ((groups * (1 / scale)).round().add(zero).clamp(0, 15) - zero) * scale
    return rounded.view(rows, -1)[:, :width]


@torch.no_grad()
def round_weights(model: PreTrainedModel, rounded: Callable[[Tensor], Tensor]) -> float:
    """Puts `rounded` of each linear layer's weight, (out, in) float32, in its place; not of embeddings and head, which
    quantised copies usually keep as they are.

    Returns how much of the matrices below the head, embeddings left out, that is: experts that a model keeps in one
    tensor of three dimensions, for one, are no linear layers.
    """
    left = {id(one.weight) for one in model.modules() if isinstance(one, nn.Embedding)}
    if (head := model.get_output_embeddings()) is not None:
        left.add(id(head.weight))
    done = 0
    for layer in model.modules():
        if not isinstance(layer, nn.Linear | Conv1D) or id(layer.weight) in left:
            continue
        weight = layer.weight.T if isinstance(layer, Conv1D) else layer.weight  # which holds it as (in, out)
        for rows in weight.split(max(1, _AT_ONCE // weight.shape[1])):
            rows.copy_(rounded(rows.float()))
        done += weight.numel()
    whole = sum(int(one.numel()) for one in model.parameters() if one.dim() > 1 and id(one) not in left)
    return done / max(1, whole)
