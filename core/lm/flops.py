"""Model FLOPs in closed form: what a pass through a model needs, whatever a machine does beside it or twice.

A weight that multiplies costs 2 FLOPs a token forward, twice that backward (PaLM, arXiv 2204.02311, appendix B), and
attention 2 * layers * width * T of T tokens that see each other, half of that paper's, since it is causal. The head is
counted at every token; padding, what is recomputed, norms and activation functions are not. Of a mixture of experts all
are counted, and of layers that attend otherwise as if they did not.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from torch import nn
from transformers import PreTrainedConfig, PreTrainedModel


@dataclass(frozen=True)
class ComputeUsage:
    """Tokens that went through a model, and model FLOPs."""

    tokens: int = 0
    flops: float = 0.0

    def __add__(self, other: "ComputeUsage") -> "ComputeUsage":
        return ComputeUsage(self.tokens + other.tokens, self.flops + other.flops)

    def __sub__(self, other: "ComputeUsage") -> "ComputeUsage":
        return ComputeUsage(self.tokens - other.tokens, self.flops - other.flops)


class Meter:
    """What has gone through models so far; it only rises, so that a difference of two readings is what was between."""

    def __init__(self) -> None:
        self.reading = ComputeUsage()

    def count(self, spent: ComputeUsage) -> None:
        self.reading += spent


METER = Meter()
"""Of this process, as its peak of memory is."""


@dataclass(frozen=True)
class ModelFlops:
    """`weights` multiply each token, `head` more of them at its end; `width` is that of attention, over all layers."""

    weights: int
    head: int
    width: int

    @classmethod
    def of(cls, model: PreTrainedModel) -> "ModelFlops":
        config, head = model.config.get_text_config(), model.get_output_embeddings()
        weight = None if head is None else head.weight
        weights = sum(one.numel() for one in multiplying_weights(model) if one is not weight)
        head_weights = 0 if weight is None else weight.numel()
        return cls(weights=weights, head=head_weights, width=sum(_width(layer) for layer in _layers(config)))

    def forward(self, tokens: int, pairs: int, *, depth: float = 1.0, head: bool = True) -> float:
        """Of so many tokens; `pairs` is the sum of T^2 over what they are parts of. `depth` is the share of the layers
        that is computed."""
        return 2.0 * tokens * (depth * self.weights + head * self.head) + 2.0 * depth * self.width * pairs

    def update(self, tokens: int, pairs: int, *, trained: float = 1.0, depth: float = 1.0, head: bool = True) -> float:
        """Forward and backward: three times forward, but weights that are not trained, all but this share, have no
        gradient of their own."""
        spared = 2.0 * tokens * (depth * self.weights + head * self.head) * (1.0 - trained)
        return 3.0 * self.forward(tokens, pairs, depth=depth, head=head) - spared

    def retraining(self, tokens: int) -> float:
        """6 N D, of a training on D tokens (arXiv 2001.08361)."""
        return 6.0 * (self.weights + self.head) * tokens


def _layers(config: PreTrainedConfig) -> list[PreTrainedConfig]:
    """The config of each layer, which an architecture may let differ from layer to layer."""
    own = getattr(config, "per_layer_config", None)
    return [own[layer] if own else config for layer in range(getattr(config, "num_hidden_layers", 0))]


def _width(config: PreTrainedConfig) -> int:
    """The width of a layer's attention, over all heads."""
    heads = getattr(config, "num_attention_heads", None) or 1
    return int(heads * (getattr(config, "head_dim", None) or config.hidden_size // heads))


def multiplying_weights(model: PreTrainedModel) -> Iterable[nn.Parameter]:
    """Weights that a token is multiplied with, each once: matrices, but no table that is only looked up in."""
    head = model.get_output_embeddings()
    kept = None if head is None else head.weight
    tables = {id(one.weight) for one in model.modules() if isinstance(one, nn.Embedding) and one.weight is not kept}
    return (one for one in model.parameters() if one.dim() > 1 and id(one) not in tables)


def trained_share(model: PreTrainedModel) -> float:
    """How much of the weights that multiply gets gradients, 0 to 1."""
    counts = [(one.numel(), one.requires_grad) for one in multiplying_weights(model)]
    return sum(count for count, trained in counts if trained) / max(1, sum(count for count, _ in counts))


def squared_lengths(lengths: Iterable[int]) -> int:
    """The sum of T^2 over sequences of these lengths."""
    return sum(length * length for length in lengths)
