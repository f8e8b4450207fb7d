"""What a job will take, before it is queued: what no declared worker can hold is refused, with what would help."""

from collections.abc import Mapping, Sequence

from sqlalchemy.ext.asyncio import AsyncSession

from api.http.problems import FieldError, Problem
from core.evaluation.measurement import Measurement
from core.preflight import capacity, duration, messages
from core.preflight.estimate import estimate
from core.preflight.processor import GPU_FLOPS_PER_SECOND, flops_per_second, has_fast_bfloat16
from core.preflight.workload import SetSize, Workload
from core.records import throughput
from core.records.jobs import FileUse
from core.records.tables import FileRow, ModelRow
from core.schema.models import ModelShape
from core.schema.preflight import Estimate, WorkerClass
from core.schema.training import Training
from core.unlearning.method import Method


def work_of(
    model: ModelRow,
    method: Method | None,
    training: Training,
    uses: Sequence[FileUse],
    rows: Mapping[str, FileRow],
    *,
    gpus: int,
    classes: Sequence[WorkerClass],
    measurements: Sequence[Measurement],
) -> Workload:
    """The job as preflight sees it. `method` None: it only measures."""
    shape = ModelShape.model_validate(model.shape)
    # what only measures is no part of what a method draws of the set, and nothing else where there is no method
    apart = method is not None
    names = [f"{use.name} to measure" if apart and use.part == "measures" else use.name for use in uses]
    files = [(name, rows[use.file].records, rows[use.file].size) for name, use in zip(names, uses, strict=True)]
    sets = SetSize.from_files(files, shape)
    # where nothing else is said, the workers' processors are taken to be like this one
    said = [one.bfloat16 for one in classes if one.bfloat16 is not None and not one.gpus]
    quick = all(said) if said else has_fast_bfloat16()
    return Workload(
        shape, method, training, sets, gpus=gpus, dtype=model.dtype, bfloat16=quick, measurements=measurements
    )


def refuse_oversized_job(work: Workload, classes: Sequence[WorkerClass], *, trains: bool = True) -> None:
    """Problem (422, `does-not-fit`): no declared class holds it; says by how much, and the smallest changes that do.

    `trains`: the request has a `training` that could be changed."""
    found = capacity.find_shortage(work, classes)
    if found is None:
        return
    changes = capacity.fitting_changes(work, classes) if trains else []
    errors = [
        FieldError(pointer=one.pointer, detail=messages.describe_change(one)) for one in (changes[0] if changes else ())
    ]
    detail = f"{messages.describe_shortage(found, work.gpus)}; {messages.fit_advice(changes)}"
    raise Problem(422, "does-not-fit", detail, errors)


async def expected(session: AsyncSession, organisation: str, model: str, work: Workload) -> Estimate:
    """The estimate, with the time that the organisation's earlier jobs on as many GPUs speak for."""
    runs = [
        duration.FinishedJob(
            model=of,
            shape=ModelShape.model_validate(shape),
            tokens=cost["tokens"],
            seconds=cost["seconds"],
            flops=cost.get("flops", {}),
            passed=cost.get("passed", {}),
            expected_tokens=before["tokens"] if before else None,
            expected_measured=before.get("measured_tokens") if before else None,
        )
        for of, shape, before, cost in await throughput.recent_costs(session, organisation, gpus=work.gpus)
        if shape
    ]
    untried = GPU_FLOPS_PER_SECOND * work.gpus if work.gpus else flops_per_second()
    return estimate(work, seconds=duration.estimate_seconds(work, model, runs, untried=untried))
