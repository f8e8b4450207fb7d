"""Model FLOPs in closed form: the computation that a pass needs, not the work that a machine does for it.

A weight that multiplies costs 2 FLOPs a token forward and twice that backward (PaLM, arXiv 2204.02311, appendix B).
Attention costs 2 * layers * width * T a token where T tokens see each other: half of that paper's figure, since it is
causal. The head is counted at every token. Padding, recomputation, norms and activation functions are not counted. All
experts of a mixture are counted, and every layer as one of full attention.
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
    """Counts what goes through models. It only rises: the difference of two readings is the usage between them."""

    def __init__(self) -> None:
        self.reading = ComputeUsage()

    def count(self, spent: ComputeUsage) -> None:
        self.reading += spent


METER = Meter()
"""The process's own meter."""


@dataclass(frozen=True)
class ModelFlops:
    """The sizes of a model that its FLOPs follow from."""

    weights: int  # that multiply each token, without the head's
    head: int  # weights of the head
    width: int  # of attention, summed over the layers

    @classmethod
    def of(cls, model: PreTrainedModel) -> "ModelFlops":
        config, head = model.config.get_text_config(), model.get_output_embeddings()
        weight = None if head is None else head.weight
        weights = sum(matrix.numel() for matrix in multiplying_weights(model) if matrix is not weight)
        head_weights = 0 if weight is None else weight.numel()
        return cls(weights=weights, head=head_weights, width=sum(_width(layer) for layer in _layers(config)))

    def forward(self, tokens: int, pairs: int, *, depth: float = 1.0, head: bool = True) -> float:
        """FLOPs of a forward pass over so many tokens. `pairs` is the sum of T^2 over their sequences; `depth` is the
        share of the layers that is computed."""
        return 2.0 * tokens * (depth * self.weights + head * self.head) + 2.0 * depth * self.width * pairs

    def update(self, tokens: int, pairs: int, *, trained: float = 1.0, depth: float = 1.0, head: bool = True) -> float:
        """FLOPs of a forward and a backward pass: three times forward, without the gradients of untrained weights.

        `trained` is the share of the weights that has gradients.
        """
        spared = 2.0 * tokens * (depth * self.weights + head * self.head) * (1.0 - trained)
        return 3.0 * self.forward(tokens, pairs, depth=depth, head=head) - spared

    def retraining(self, tokens: int) -> float:
        """FLOPs of a training on D tokens: 6 N D (arXiv 2001.08361)."""
        return 6.0 * (self.weights + self.head) * tokens


def _layers(config: PreTrainedConfig) -> list[PreTrainedConfig]:
    """Returns the config of each layer: in some architectures they differ."""
    configs = getattr(config, "per_layer_config", None)
    return [configs[layer] if configs else config for layer in range(getattr(config, "num_hidden_layers", 0))]


def _width(config: PreTrainedConfig) -> int:
    """Returns the width of a layer's attention, over all heads."""
    heads = getattr(config, "num_attention_heads", None) or 1
    return int(heads * (getattr(config, "head_dim", None) or config.hidden_size // heads))


def multiplying_weights(model: PreTrainedModel) -> Iterable[nn.Parameter]:
    """Returns the weights that tokens are multiplied with, each once: matrices, without tables that are looked up."""
    head = model.get_output_embeddings()
    head_weight = None if head is None else head.weight
    embeddings = [module for module in model.modules() if isinstance(module, nn.Embedding)]
    tables = {id(embedding.weight) for embedding in embeddings if embedding.weight is not head_weight}
    return (weight for weight in model.parameters() if weight.dim() > 1 and id(weight) not in tables)


def trained_share(model: PreTrainedModel) -> float:
    """Returns the share of the multiplying weights that gets gradients, 0 to 1."""
    counts = [(weight.numel(), weight.requires_grad) for weight in multiplying_weights(model)]
    return sum(count for count, trained in counts if trained) / max(1, sum(count for count, _ in counts))


def squared_lengths(lengths: Iterable[int]) -> int:
    """Returns the sum of T^2 over sequences of these lengths."""
    return sum(length * length for length in lengths)
