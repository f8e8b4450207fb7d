"""Tiny models with random weights whose predictions are far from uniform, and in which every part has an effect."""

import torch
from torch import nn
from transformers import AutoModelForCausalLM, PreTrainedModel

from tests.architectures import configs
from tests.architectures.variants import Variant

EMBEDDING, GAIN, HEAD_GAIN = 0.5, 1.3, 3.0
"""Standard deviations: of embeddings; of a linear layer's outputs for inputs of deviation 1; of untied logits."""


class NotBuilt(Exception):
    """Transformers makes no model of any tiny configuration, or the model does not read token ids alone."""


def build_model(variant: Variant) -> PreTrainedModel:
    """Builds the variant's model, in float32 and eval mode, of the first configuration whose model reads tokens.

    Raises NotBuilt with transformers' error for the first configuration.
    """
    first: Exception | None = None
    try:
        for config in configs.candidates(variant.name, variant.changes):
            try:
                torch.manual_seed(0)
                model: PreTrainedModel = AutoModelForCausalLM.from_config(config).eval()
                randomise(model, seed=1)
                _try_reading(model)
            except Exception as error:  # noqa: BLE001 - a model may raise anything for sizes that do not fit
                first = first or error
            else:
                return model
    except Exception as error:  # noqa: BLE001 - so may a configuration
        first = first or error
    raise NotBuilt(f"{type(first).__name__}: {' '.join(str(first).split())[:200]}")


@torch.no_grad()
def _try_reading(model: PreTrainedModel) -> None:
    logits = model(input_ids=torch.arange(4, 44)[None], use_cache=False).logits
    if logits.shape[:2] != (1, 40) or not bool(torch.isfinite(logits).all()):
        raise ValueError(f"40 tokens gave logits of shape {tuple(logits.shape)}, or not finite ones")


@torch.no_grad()
def randomise(model: PreTrainedModel, *, seed: int) -> None:
    """Draws every weight, in place, so that attention is sharp, predictions are far from uniform, and neither norms nor
    biases are trivial. Weights that an architecture sets in a pattern of its own (decays, states) are kept with noise.
    """
    generator = torch.Generator().manual_seed(seed)
    embeddings = {id(module.weight) for module in model.modules() if isinstance(module, nn.Embedding)}
    head = model.get_output_embeddings()
    head_id = id(head.weight) if isinstance(head, nn.Linear) else None
    for weight in model.parameters():
        if not weight.is_floating_point():
            continue
        noise = torch.randn(weight.shape, generator=generator, dtype=torch.float32).to(weight.dtype)
        if id(weight) in embeddings:
            weight.copy_(noise * EMBEDDING)
        elif id(weight) == head_id:
            weight.copy_(noise * HEAD_GAIN / weight.shape[-1] ** 0.5)
        elif sum(size > 1 for size in weight.shape) > 1:
            weight.copy_(noise * GAIN / weight.shape[-1] ** 0.5)
        else:
            _disturb(weight, noise)
    kept = set(model.state_dict())
    for name, buffer in model.named_buffers():
        if name in kept and buffer.is_floating_point() and not bool(buffer.any()):
            buffer.add_(torch.randn(buffer.shape, generator=generator, dtype=torch.float32).to(buffer.dtype) * 0.1)


def _disturb(weight: torch.Tensor, noise: torch.Tensor) -> None:
    if not bool(torch.isfinite(weight).all()) or not bool(weight.any()):
        weight.copy_(noise * 0.2)  # a bias, or a norm that adds one
    else:
        weight.mul_(1 + 0.2 * noise)
