"""Sizes that optimisers compute with, in a module without torch, so that preflight counts with the same ones."""

WEIGHTS_PER_SLICE = 1 << 24
"""Weights held in bfloat16 that are computed in float32 at a time."""

EIGHT_BIT_BLOCK = 256
"""Moments in 8 bits that share one float32 scale, as torchao's AdamW8bit stores them (arXiv 2110.02861)."""
