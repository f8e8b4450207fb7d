"""Preflight of a job before it is queued: whether a declared worker can hold it, and the estimate of its cost."""

from collections.abc import Mapping, Sequence

from sqlalchemy.ext.asyncio import AsyncSession

from api.http.problems import FieldError, Problem
from core.evaluation.measurement import Measurement
from core.preflight import capacity, duration, messages
from core.preflight.estimate import estimate
from core.preflight.measure_workload import MeasureWorkload
from core.preflight.processor import GPU_FLOPS_PER_SECOND, flops_per_second, has_fast_bfloat16
from core.preflight.unlearn_workload import UnlearnWorkload, made_sizes
from core.preflight.workload import SetSize, Workload
from core.records import throughput, workers
from core.records.jobs import FileUse
from core.records.tables import FileRow, ModelRow
from core.schema.models import ModelShape
from core.schema.preflight import Estimate, WorkerClass
from core.schema.training import Training
from core.unlearning.method import Method


def describe_measuring(
    model: ModelRow,
    training: Training,
    uses: Sequence[FileUse],
    rows: Mapping[str, FileRow],
    *,
    gpus: int,
    classes: Sequence[WorkerClass],
    measurements: Sequence[Measurement],
) -> MeasureWorkload:
    """Returns a job that only measures as preflight sees it. Files that only measure are sets like all others."""
    shape = ModelShape.model_validate(model.shape)
    return MeasureWorkload(
        shape,
        training,
        _set_sizes([use.name for use in uses], uses, rows, shape),
        gpus=gpus,
        dtype=model.dtype,
        bfloat16=_has_fast_bfloat16(classes),
        measurements=measurements,
    )


def describe_unlearning(
    method: Method,
    missing_sets: Sequence[str],
    model: ModelRow,
    training: Training,
    uses: Sequence[FileUse],
    rows: Mapping[str, FileRow],
    *,
    gpus: int,
    classes: Sequence[WorkerClass],
    measurements: Sequence[Measurement],
) -> UnlearnWorkload:
    """Returns a job that unlearns as preflight sees it. Its method does not draw from files that only measure.

    The job makes the `missing_sets` itself.
    """
    shape = ModelShape.model_validate(model.shape)
    names = [f"{use.name} to measure" if use.part == "measures" else use.name for use in uses]
    sizes = _set_sizes(names, uses, rows, shape)
    return UnlearnWorkload(
        shape,
        training,
        {**sizes, **made_sizes(sizes["forget"], missing_sets)},
        method=method,
        gpus=gpus,
        dtype=model.dtype,
        bfloat16=_has_fast_bfloat16(classes),
        measurements=measurements,
    )


def _set_sizes(
    names: Sequence[str], uses: Sequence[FileUse], rows: Mapping[str, FileRow], shape: ModelShape
) -> dict[str, SetSize]:
    files = [(name, rows[use.file].records, rows[use.file].size) for name, use in zip(names, uses, strict=True)]
    return SetSize.from_files(files, shape)


def _has_fast_bfloat16(classes: Sequence[WorkerClass]) -> bool:
    """Returns the worker classes' declaration; without one, workers' processors are assumed to be like this one."""
    declared = [worker.bfloat16 for worker in classes if worker.bfloat16 is not None and not worker.gpus]
    return all(declared) if declared else has_fast_bfloat16()


def check_capacity(workload: Workload, classes: Sequence[WorkerClass], *, trains: bool = True) -> None:
    """Problem (422, `does-not-fit`): no declared class can hold the job; names the lack and the smallest changes.

    `trains`: the request has a `training` that could be changed.
    """
    shortage = capacity.find_shortage(workload, classes)
    if shortage is None:
        return
    alternatives = capacity.fitting_changes(workload, classes) if trains else []
    errors = [
        FieldError(pointer=change.pointer, detail=messages.describe_change(change))
        for change in (alternatives[0] if alternatives else ())
    ]
    detail = f"{messages.describe_shortage(shortage, workload.gpus)}; {messages.fit_advice(alternatives)}"
    raise Problem(422, "does-not-fit", detail, errors)


async def estimate_cost(
    session: AsyncSession, organisation: str, model: str, workload: Workload, *, stale_seconds: float
) -> Estimate:
    """Returns the estimate. Its time rests on the organisation's earlier jobs on as many GPUs, where there are any of
    this model, else on the throughput of workers that could run the job."""
    finished_jobs = [
        duration.FinishedJob(
            model=earlier_model,
            shape=ModelShape.model_validate(shape),
            tokens=cost["tokens"],
            seconds=cost["seconds"],
            flops=cost.get("flops", {}),
            passed=cost.get("passed", {}),
            expected_tokens=expected["tokens"] if expected else None,
            expected_measured=expected.get("measured_tokens") if expected else None,
        )
        for earlier_model, shape, expected, cost in await throughput.recent_costs(
            session, organisation, gpus=workload.gpus
        )
        if shape
    ]
    throughputs = await workers.measured_throughputs(session, gpus=workload.gpus, stale_seconds=stale_seconds)
    measured = duration.Speed.from_workers(throughputs, gpus=workload.gpus)
    default = GPU_FLOPS_PER_SECOND * workload.gpus if workload.gpus else flops_per_second()
    seconds = duration.estimate_seconds(
        workload, model, finished_jobs, measured=measured, default=duration.Speed(default, default)
    )
    return estimate(workload, seconds=seconds)
