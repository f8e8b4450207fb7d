"""The tiny model, and the spec of a job on it."""

from pathlib import Path

import pytest

from core.schema.job_spec import ChildMethod, FileRecords, UnlearnSpec
from core.schema.training import Training
from tests.tiny_model import TinyModel, tiny_model

__all__ = ["tiny_model"]


@pytest.fixture
def spec(tiny_model: TinyModel, tmp_path: Path) -> UnlearnSpec:
    """A calibrated job on the tiny model: eight epochs, one thread, and few measurements."""
    return UnlearnSpec(
        job="job-of-a-test",
        model="tiny",
        directory=tiny_model.directory,
        method=ChildMethod(name="calibrated", parameters={}),
        training=Training(
            learning_rate=1e-3,
            scheduler="linear",
            warmup=0.0,
            optimizer="adamw",
            weight_decay=0.0,
            epochs=8,
            records_per_step=4,
            max_length=512,
            chat="raw",
            precision="float32",
            seed=0,
            gradient_clip=1.0,
            micro_batch_tokens=2048,
        ),
        records=FileRecords(
            forget=tiny_model.files["forget"], retain=[tiny_model.files["retain"]], unseen=tiny_model.files["unseen"]
        ),
        output=tmp_path / "checkpoint",
        measure=["likelihood"],
        threads=1,
    )
