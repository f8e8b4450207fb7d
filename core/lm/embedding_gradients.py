"""Gradients of a trial's loss with respect to the output of the input embeddings.

They are small, and none is left in the model's weights.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional
from transformers import PreTrainedModel

from core.lm.data import Chunk
from core.lm.errors import out_of_memory
from core.lm.float32_compute import computing_in_float32

TOLERANCE = 1e-4
"""How far two orders of the same sums may lie apart, as a share of the largest gradient."""


def input_gradients(
    model: PreTrainedModel, logits: Callable[[], Tensor], chunks: Sequence[Chunk]
) -> list[Tensor] | None:
    """Returns the gradients of the summed loss of the chunks' scored tokens, (B, T, H) for each forward of `logits`.

    `logits` returns the scored tokens' logits (N, V), in order of chunk. A forward whose embeddings no gradient reaches
    has zeros. None: the model cannot be asked for gradients that way.
    """
    leaves: list[Tensor] = []

    def leaf(_: torch.nn.Module, __: object, output: Tensor) -> Tensor:
        leaves.append(output.detach().requires_grad_(True))
        return leaves[-1]

    handle = model.get_input_embeddings().register_forward_hook(leaf)
    try:
        with torch.enable_grad(), computing_in_float32(model):
            scored_logits = logits()
            targets = torch.cat([chunk.ids[chunk.scored] for chunk in chunks]).to(scored_logits.device)
            loss = functional.cross_entropy(scored_logits.float(), targets, reduction="sum")
            gradients = torch.autograd.grad(loss, leaves, allow_unused=True)
    except Exception as error:  # an architecture that takes no other embeddings, or has no gradient of them
        if out_of_memory(error):
            raise
        return None
    finally:
        handle.remove()
    return [
        torch.zeros_like(leaf) if gradient is None else gradient
        for leaf, gradient in zip(leaves, gradients, strict=True)
    ]
