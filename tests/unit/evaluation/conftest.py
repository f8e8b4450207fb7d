"""The tiny model, loaded once, and one thread: enough for models of this size."""

from collections.abc import Iterator

import pytest
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from core.lm.model import load
from tests.tiny_model import TinyModel, tiny_model

__all__ = ["tiny_model"]


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def loaded(tiny_model: TinyModel) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    return load(tiny_model.directory, "auto", device=torch.device("cpu"))
