"""Jobs on the GPU beside the same jobs on the CPU."""

from pathlib import Path

import pytest
from safetensors.torch import load_file

from core.schema.events import CostReported, Done, Measured, Paused, Resumed
from core.schema.job_spec import ChildMethod, UnlearnSpec
from tests.integration.pipeline.child import Outcome, child, run, sealed_folder

METHODS = ("calibrated", "npo", "rmu", "ascent_descent")


def job(spec: UnlearnSpec, method: str, output: Path, **training: object) -> UnlearnSpec:
    settings = type(spec.training).model_validate(spec.training.model_dump() | training)
    return spec.model_copy(
        update={"method": ChildMethod(name=method, parameters={}), "training": settings, "output": output}
    )


def perplexities(outcome: Outcome) -> list[float]:
    assert isinstance(outcome.events[-1], Done), outcome.stderr
    measurements = [event.measurements for event in outcome.events if isinstance(event, Measured)]
    return [
        measured.sets[name]["perplexity"].value for measured in measurements for name in ("forget", "retain", "unseen")
    ]


@pytest.mark.parametrize("method", METHODS)
def test_a_job_on_the_gpu_ends_with_the_perplexities_of_the_same_job_on_the_cpu(
    spec: UnlearnSpec, tmp_path: Path, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_gpu = run(job(spec, method, tmp_path / "gpu"))
    (cost,) = on_gpu.only("cost")
    assert isinstance(cost, CostReported)
    assert cost.peak_device_bytes
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    on_cpu = run(job(spec, method, tmp_path / "cpu"))
    assert perplexities(on_gpu) == pytest.approx(perplexities(on_cpu), rel=0.05)


@pytest.mark.parametrize(
    "training",
    [{"precision": "bfloat16"}, {"lora": {"rank": 4}}, {"checkpointing": True}, {"optimizer": "adamw8bit"}],
    ids=str,
)
def test_a_job_with_each_training_setting_ends_with_done(
    spec: UnlearnSpec, tmp_path: Path, training: dict[str, object]
) -> None:
    perplexities(run(job(spec, "npo", tmp_path / "checkpoint", **training)))


def test_a_paused_job_ends_with_the_weights_of_an_undisturbed_job_but_for_rounding(
    spec: UnlearnSpec, tmp_path: Path
) -> None:
    undisturbed = job(spec, "ascent_descent", tmp_path / "undisturbed", epochs=12, snapshot_every=5)
    assert isinstance(run(undisturbed).events[-1], Done)
    snapshots = sealed_folder(tmp_path / "snapshots")
    paused_spec = undisturbed.model_copy(update={"snapshots": snapshots, "output": tmp_path / "resumed"})
    with child(paused_spec) as process:
        process.until(lambda event: event.kind == "progress" and event.step >= 4)
        process.tell('{"command":"pause"}')
        paused = process.ended().events[-1]
    assert isinstance(paused, Paused)
    outcome = run(paused_spec.model_copy(update={"fence": 1}))
    assert isinstance(outcome.events[-1], Done), outcome.stderr
    assert outcome.only("resumed") == [Resumed(step=paused.step)]
    expected, resumed = (load_file(tmp_path / name / "model.safetensors") for name in ("undisturbed", "resumed"))
    assert max(float((resumed[name] - weight).abs().max()) for name, weight in expected.items()) < 1e-3
