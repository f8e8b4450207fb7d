"""Activations that a forward pass keeps for its backward pass, per token, as PyTorch's autograd saves them in a Llama.

H is the hidden size, A the width of all attention heads together, I the feed-forward width. A norm keeps its input and
its normalised input. Attention keeps the rotated queries, keys (repeated to all heads), values, and its output. The
feed-forward layer keeps gate, up, their activation and their product.
"""

from dataclasses import dataclass

from core.schema.models import ModelShape


@dataclass(frozen=True)
class Widths:
    """The widths H, A and I of a model."""

    hidden: int
    attention: int
    feed_forward: int

    @classmethod
    def of(cls, shape: ModelShape) -> "Widths":
        """Reads the widths from a shape."""
        attention = _attention_width(shape, shape.heads)
        return cls(shape.hidden_size, attention, shape.intermediate or 4 * shape.hidden_size)


def layer_bytes(shape: ModelShape, precision: str) -> int:
    """Returns the bytes that one layer keeps for one token.

    float32: two norms of 8H, with an output of 4H each that the linear layers after it share; 16A; 16I. bfloat16 by
    autocast: the residual stream and the norms stay in float32 (8H each), and each of five linear layers keeps its own
    cast of their outputs (2H each); 8A and 8I.
    """
    widths = Widths.of(shape)
    if precision == "float32":
        return 24 * widths.hidden + 16 * widths.attention + 16 * widths.feed_forward
    return 26 * widths.hidden + 8 * widths.attention + 8 * widths.feed_forward


def kept_bytes(shape: ModelShape, precision: str, *, checkpointing: bool) -> int:
    """Returns the bytes that all layers, and one layer at work, keep for one token.

    With checkpointing a layer keeps only its input.
    """
    layer = layer_bytes(shape, precision)
    if checkpointing:
        return 4 * shape.hidden_size * shape.layers + 2 * layer
    return layer * (shape.layers + 1)


def forward_bytes(shape: ModelShape) -> int:
    """Returns the most bytes in use for one token of a forward pass without gradients: one layer's, in float32."""
    widths = Widths.of(shape)
    return 4 * (6 * widths.hidden + 4 * widths.attention + 3 * widths.feed_forward)


def cache_bytes(shape: ModelShape) -> int:
    """Returns the bytes of one token's keys and values during generation, and of one layer's copy while it grows."""
    return 4 * 2 * _attention_width(shape, shape.key_value_heads or shape.heads) * (shape.layers + 1)


def _attention_width(shape: ModelShape, heads: int | None) -> int:
    """Returns the width of so many heads; without attention, at least the width of the layer in its place."""
    if shape.heads is None or heads is None:
        return shape.hidden_size
    return heads * (shape.head_size or shape.hidden_size // shape.heads)
