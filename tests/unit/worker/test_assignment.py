"""The spec of a claimed job's child."""

from pathlib import Path

import pytest

from core.records.tables import JobRow, ModelRow
from core.schema.job_spec import MeasureSpec, PreviewSpec, UnlearnSpec
from tests.integration.records.scene import TRAINING
from worker.assignment import Assignment
from worker.scratch import Scratch, attempt_folders, measurements_folder, snapshot_folders


def job_row(*, gpus: int = 0, output: str = "full", start_checkpoint: str | None = None) -> JobRow:
    return JobRow(
        id="job_1",
        fence=1,
        kind="unlearn",
        gpus=gpus,
        method="calibrated",
        parameters={},
        data=[],
        training=TRAINING.model_dump(mode="json"),
        output=output,
        start_checkpoint=start_checkpoint,
        measure=["standard"],
    )


@pytest.mark.parametrize(("gpus", "ranks"), [(0, 1), (1, 1), (4, 4)])
def test_a_job_has_a_process_for_each_of_its_gpus(tmp_path: Path, gpus: int, ranks: int) -> None:
    job = job_row(gpus=gpus)
    model = ModelRow(id="model_1", directory=str(tmp_path), dtype="auto", training_tokens=9000)
    spec = Assignment(job, model, None, []).spec(Scratch(tmp_path, "job_1", 1), token="t", threads=2)
    assert spec.ranks == ranks
    assert spec.training_tokens == 9000


def test_the_spec_names_the_checkpoint_that_the_job_starts_from(tmp_path: Path) -> None:
    job = job_row(output="adapter", start_checkpoint="ckpt_1")
    model = ModelRow(id="model_1", directory=str(tmp_path), dtype="auto")
    scratch = Scratch(tmp_path, "job_1", 1)
    spec = Assignment(job, model, ("checkpoints/job_0/1", []), []).spec(scratch, token="t", threads=2)
    assert (spec.start, spec.directory) == ("ckpt_1", scratch.start)


def test_the_spec_names_the_operators_benchmark_tasks(tmp_path: Path) -> None:
    job = job_row()
    model = ModelRow(id="model_1", directory=str(tmp_path), dtype="auto")
    assigned, scratch = Assignment(job, model, None, []), Scratch(tmp_path, "job_1", 1)
    spec = assigned.spec(scratch, token="t", threads=2, benchmark_tasks=tmp_path / "tasks", benchmark_code=True)
    assert (spec.benchmark_tasks, spec.benchmark_code) == (tmp_path / "tasks", True)
    spec = assigned.spec(scratch, token="t", threads=2)
    assert (spec.benchmark_tasks, spec.benchmark_code) == (None, False)


def test_measurements_lie_in_a_folder_of_each_organisation_that_the_collector_leaves(tmp_path: Path) -> None:
    folder, other = (measurements_folder(tmp_path, organisation) for organisation in ("org-1", "org-2"))
    assert folder != other
    folder.mkdir(parents=True)
    assert list(attempt_folders(tmp_path)) == list(snapshot_folders(tmp_path)) == []


@pytest.mark.parametrize(
    ("kind", "spec"), [("unlearn", UnlearnSpec), ("preview", PreviewSpec), ("measure", MeasureSpec)]
)
def test_a_child_is_told_the_kind_of_job_with_the_fields_of_that_kind(tmp_path: Path, kind: str, spec: type) -> None:
    job = job_row(gpus=4)
    job.kind = kind
    model = ModelRow(id="model_1", directory=str(tmp_path), dtype="auto")
    made = Assignment(job, model, None, []).spec(Scratch(tmp_path, "job_1", 1), token="t", threads=2)
    assert type(made) is spec
    assert made.processes == (4 if kind == "unlearn" else 1)
