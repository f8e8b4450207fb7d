"""What a forward keeps for its backward, per token, as PyTorch's autograd saves it for a Llama-like layer.

With H the hidden size, A the heads' width together, I the feed-forward width. Norms keep their input and their
normalised input; the rotated queries, keys (repeated to all heads), values and the attention's output are kept by the
attention; gate, up, their activation and their product by the feed-forward.
"""

from dataclasses import dataclass

from core.schema.models import ModelShape


@dataclass(frozen=True)
class Widths:
    hidden: int
    attention: int
    feed_forward: int

    @classmethod
    def of(cls, shape: ModelShape) -> "Widths":
        return cls(shape.hidden_size, _attention(shape, shape.heads), shape.intermediate or 4 * shape.hidden_size)


def layer_bytes(shape: ModelShape, precision: str) -> int:
    """Kept by one layer for one token.

    float32: two norms of 8H with an output of 4H each that the linear layers after it share, 16A, 16I. bfloat16 by
    autocast: the residual stream and the norms stay in float32 (8H each), and each of five linear layers keeps its own
    cast of their outputs (2H each); 8A and 8I.
    """
    one = Widths.of(shape)
    if precision == "float32":
        return 24 * one.hidden + 16 * one.attention + 16 * one.feed_forward
    return 26 * one.hidden + 8 * one.attention + 8 * one.feed_forward


def kept_bytes(shape: ModelShape, precision: str, *, checkpointing: bool) -> int:
    """Kept by all layers for one token, and by one layer at work. With checkpointing a layer keeps only its input."""
    layer = layer_bytes(shape, precision)
    if checkpointing:
        return 4 * shape.hidden_size * shape.layers + 2 * layer
    return layer * (shape.layers + 1)


def passing_bytes(shape: ModelShape) -> int:
    """In use at most for one token of a forward without gradients: one layer's, in float32."""
    one = Widths.of(shape)
    return 4 * (6 * one.hidden + 4 * one.attention + 3 * one.feed_forward)


def cache_bytes(shape: ModelShape) -> int:
    """Keys and values of one token while text is written, and once more while one layer's are made longer."""
    return 4 * 2 * _attention(shape, shape.key_value_heads or shape.heads) * (shape.layers + 1)


def _attention(shape: ModelShape, heads: int | None) -> int:
    """Width of so many heads; of a model without attention, the width of what stands in its place, at least."""
    if shape.heads is None or heads is None:
        return shape.hidden_size
    return heads * (shape.head_size or shape.hidden_size // shape.heads)
