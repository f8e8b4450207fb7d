"""Tests that need a GPU. Without a GPU each of them is skipped, with a message."""

import pytest
import torch

from tests.integration.pipeline.conftest import spec
from tests.tiny_model import tiny_model

__all__ = ["spec", "tiny_model"]


@pytest.fixture(autouse=True)
def _require_gpu() -> None:
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
