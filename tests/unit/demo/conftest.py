"""The tiny model is trained by what is tested here."""

from tests.tiny_model import tiny_model

__all__ = ["tiny_model"]
