"""The plan of a job's measurements, from the model's directory and the job's records."""

from pathlib import Path

import pytest

from benchmarks.random_models import SHAPES, write_model
from core.demo.people import people
from core.evaluation.measurements import resolve_measurements
from core.pipeline.measuring_plan import plan_measuring
from core.schema.evaluation import MeasurementChoice
from core.schema.job_spec import ChildMethod, FileRecords, RecordSet, UnlearnSpec
from core.schema.training import TrainingRequest
from core.unlearning.objectives import fill_training, resolve

CANARY = "zyzzyva-4711"


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(SHAPES["4M, 2k"], tmp_path_factory.mktemp("model"))


def spec(directory: Path) -> UnlearnSpec:
    training = fill_training(TrainingRequest(epochs=1), "gradient_ascent", parameters=4_000_000, forget_records=40)
    return UnlearnSpec(
        job="job-1",
        model="random",
        directory=directory,
        method=ChildMethod(name="gradient_ascent", parameters={}),
        training=training,
        records=FileRecords(),
        output=directory / "checkpoint",
    )


def record_sets() -> list[RecordSet]:
    forget = people(40, 1)
    forget[0] = forget[0].with_texts([CANARY])
    return [RecordSet(name="forget", records=forget), RecordSet(name="unseen", records=people(40, 2))]


def test_the_default_measurements_of_a_small_model_stay(directory: Path) -> None:
    measurements = resolve_measurements(["standard"])
    planned, warning = plan_measuring(spec(directory), resolve("gradient_ascent", {}), measurements, record_sets())
    assert planned == measurements
    assert warning is None


def test_a_warning_names_what_is_measured_less_and_no_text(directory: Path) -> None:
    exposure = MeasurementChoice.model_validate({"name": "exposure", "exhaustive": True, "twins": 999})
    measurements = resolve_measurements(["likelihood", exposure, "cloze"])
    planned, warning = plan_measuring(spec(directory), resolve("gradient_ascent", {}), measurements, record_sets())
    assert [measurement.name for measurement in planned] == [measurement.name for measurement in measurements]
    assert warning is not None
    assert "exposure with records 20 instead of 64, control False instead of True" in warning
    assert CANARY not in warning
    shortened = {measurement.name: measurement for measurement in planned}["exposure"]
    assert shortened.model_dump()["twins"] == 999
