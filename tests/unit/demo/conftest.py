"""The tiny model, which the code under test trains."""

from tests.tiny_model import tiny_model

__all__ = ["tiny_model"]
