"""The distance of the weights and the symmetric scores in whole jobs, beside the files that the jobs leave."""

import time
from pathlib import Path

import pytest
from safetensors.torch import load_file

from core.pipeline.run import Run
from core.schema.evaluation import MeasurementChoice, Measurements, Moment
from core.schema.events import ChildEvent, Measured
from core.schema.figure_names import RELEARNED_SYMMETRIC
from core.schema.job_spec import ChildMethod, FileRecords, JobSpec, MeasureSpec, UnlearnSpec
from core.schema.training import Lora
from tests.integration.pipeline.child import run
from tests.tiny_model import TinyModel

RELEARNED = MeasurementChoice.model_validate({"name": "relearned", "shown": 2, "steps": 2, "every": 1})


def figures(job: JobSpec) -> dict[Moment, Measurements]:
    events: list[ChildEvent] = []
    Run(job, events.append, lambda: False, lambda: False, began=time.monotonic())()
    return {event.moment: event.measurements for event in events if isinstance(event, Measured)}


def ascent(spec: UnlearnSpec, tiny_model: TinyModel, **changes: object) -> UnlearnSpec:
    update = {
        "method": ChildMethod(name="gradient_ascent", parameters={}),
        "records": FileRecords(forget=tiny_model.files["forget"]),
        "measure": ["weight_distance"],
    }
    return spec.model_copy(update=update | changes)


def distance(first: Path, second: Path, part: str) -> float:
    """‖first - second‖ / ‖second‖ over the tensors of both files whose names hold the part, in float64."""
    ours, theirs = (load_file(directory / "model.safetensors") for directory in (first, second))
    names = [name for name in theirs if part in name]
    difference = sum((ours[name].double() - theirs[name].double()).square().sum().item() for name in names)
    return float((difference / sum(theirs[name].double().square().sum().item() for name in names)) ** 0.5)


def test_a_job_reports_how_far_its_checkpoint_is_and_how_it_relearns_beside_a_retrained_model(
    spec: UnlearnSpec, tiny_model: TinyModel
) -> None:
    measure = ["likelihood", "weight_distance", "quantized", RELEARNED]
    outcome = run(ascent(spec, tiny_model, measure=measure, retrained=tiny_model.directory))
    assert outcome.code == 0, outcome.stderr
    measured = {event.moment: event.measurements for event in outcome.events if isinstance(event, Measured)}
    before, after, retrained = measured["before"], measured["after"], measured["retrained"]
    assert "weight_distance" not in before.across
    assert after.across["weight_distance"].value == pytest.approx(
        distance(spec.output, tiny_model.directory, ""), rel=1e-6
    )
    for point in after.curves["weight_distance_layers"]:
        expected = distance(spec.output, tiny_model.directory, f".layers.{point.step}.")
        assert point.figure.value == pytest.approx(expected, rel=1e-6)
    line = [point.figure for point in after.curves["weight_line_loss"]]
    assert len(line) == 5
    assert line[0].value > line[-1].value
    # the "retrained" model of this test is the one that the job started from
    assert retrained.across["weight_distance"].value == 0
    assert line[-1] == retrained.curves["weight_line_loss"][-1].figure
    assert {point.figure.value for point in retrained.curves["weight_line_loss"]} == {line[-1].value}

    assert set(RELEARNED_SYMMETRIC[:1]) == {name for name in after.across if name.startswith("relearned_")} & set(
        RELEARNED_SYMMETRIC
    )
    scores = {name: figure for name, figure in after.across.items() if "symmetric" in name}
    assert {name for name in scores if name.startswith("quantized")} == {
        name for name in retrained.across if "symmetric" in name
    }
    assert len(scores) == 5
    assert all(0 <= score.value <= 1 and score.records for score in scores.values())


def test_an_adapter_alone_is_as_far_as_the_merged_model(
    spec: UnlearnSpec, tiny_model: TinyModel, tmp_path: Path
) -> None:
    training = spec.training.model_copy(update={"lora": Lora(rank=8), "learning_rate": 3e-3, "epochs": 2})
    alone = ascent(spec, tiny_model, training=training, deliver="adapter")
    merged = ascent(spec, tiny_model, training=training, output=tmp_path / "merged")
    of_adapter, of_merged = (figures(job)["after"] for job in (alone, merged))
    value = of_merged.across["weight_distance"].value
    assert value == pytest.approx(distance(tmp_path / "merged", tiny_model.directory, ""), rel=1e-6)
    assert of_adapter.across["weight_distance"].value == pytest.approx(value, rel=1e-5)
    assert of_adapter.across["weight_distance_outside"].value == 0

    again = MeasureSpec.from_spec(merged, directory=tmp_path / "merged", original=spec.directory)
    assert figures(again)["after"].across == of_merged.across
    by_itself = figures(MeasureSpec.from_spec(merged, directory=tmp_path / "merged"))["after"]
    assert by_itself.across == {}
    assert any("is not given" in warning for warning in by_itself.warnings)
    on_its_base = MeasureSpec.from_spec(alone, directory=spec.output, base=spec.directory)
    assert figures(on_its_base)["after"].across == of_adapter.across
