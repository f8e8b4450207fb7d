"""What a claimed job's child is told."""

from pathlib import Path

import pytest

from core.records.tables import JobRow, ModelRow
from core.schema.job_spec import MeasureSpec, PreviewSpec, UnlearnSpec
from tests.integration.records.scene import TRAINING
from worker.assignment import Assignment
from worker.scratch import Scratch, attempt_folders, measurement_cache, snapshot_folders


def job_row(*, gpus: int = 0, output: str = "full", start_checkpoint: str | None = None) -> JobRow:
    return JobRow(
        id="job_1",
        fence=1,
        kind="unlearn",
        gpus=gpus,
        method="calibrated",
        parameters={},
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


def test_a_job_is_told_which_checkpoint_it_starts_from(tmp_path: Path) -> None:
    job = job_row(output="adapter", start_checkpoint="ckpt_1")
    model = ModelRow(id="model_1", directory=str(tmp_path), dtype="auto")
    scratch = Scratch(tmp_path, "job_1", 1)
    spec = Assignment(job, model, ("checkpoints/job_0/1", []), []).spec(scratch, token="t", threads=2)
    assert (spec.start, spec.directory) == ("ckpt_1", scratch.start)


def test_a_job_is_told_where_the_operators_benchmark_tasks_are(tmp_path: Path) -> None:
    job = job_row()
    model = ModelRow(id="model_1", directory=str(tmp_path), dtype="auto")
    assigned, scratch = Assignment(job, model, None, []), Scratch(tmp_path, "job_1", 1)
    told = assigned.spec(scratch, token="t", threads=2, benchmark_tasks=tmp_path / "tasks", benchmark_code=True)
    assert (told.benchmark_tasks, told.benchmark_code) == (tmp_path / "tasks", True)
    told = assigned.spec(scratch, token="t", threads=2)
    assert (told.benchmark_tasks, told.benchmark_code) == (None, False)


def test_a_worker_keeps_what_it_measures_by_organisation_where_no_cleaning_comes(tmp_path: Path) -> None:
    one, other = (measurement_cache(tmp_path, organisation) for organisation in ("org-1", "org-2"))
    assert one != other
    one.mkdir(parents=True)
    assert list(attempt_folders(tmp_path)) == list(snapshot_folders(tmp_path)) == []


@pytest.mark.parametrize(
    ("kind", "spec"), [("unlearn", UnlearnSpec), ("preview", PreviewSpec), ("measure", MeasureSpec)]
)
def test_a_child_is_told_the_kind_of_job_with_the_fields_of_that_kind(tmp_path: Path, kind: str, spec: type) -> None:
    job = job_row(gpus=4)
    job.kind = kind
    model = ModelRow(id="model_1", directory=str(tmp_path), dtype="auto")
    told = Assignment(job, model, None, []).spec(Scratch(tmp_path, "job_1", 1), token="t", threads=2)
    assert type(told) is spec
    assert told.processes == (4 if kind == "unlearn" else 1)
