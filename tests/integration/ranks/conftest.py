from collections.abc import Iterator

import pytest
import torch

from tests.integration.pipeline.conftest import spec
from tests.tiny_model import tiny_model

__all__ = ["spec", "tiny_model"]

MOST_RANKS = 2
"""The most ranks that a test starts."""


@pytest.fixture(autouse=True, scope="package")
def _device_for_each_rank() -> Iterator[None]:
    """Runs all ranks on the CPU where there are fewer GPUs than ranks: two ranks cannot share a GPU."""
    with pytest.MonkeyPatch.context() as patch:
        if torch.cuda.device_count() < MOST_RANKS:
            patch.setenv("CUDA_VISIBLE_DEVICES", "")
        yield
