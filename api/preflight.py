"""What a job will take, before it is queued: what no declared worker can hold is refused, with what would help."""

from collections.abc import Mapping, Sequence

from sqlalchemy.ext.asyncio import AsyncSession

from api.problems import FieldError, Problem
from core.preflight import duration, fitting, words
from core.preflight.estimate import estimate
from core.preflight.processor import quick_bfloat16
from core.preflight.work import Text, Work
from core.records import throughput
from core.records.jobs import FileUse
from core.records.tables import FileRow, ModelRow
from core.schema.models import ModelShape
from core.schema.preflight import Estimate, WorkerClass
from core.schema.training import Training
from core.unlearning.method import Method


def work_of(
    model: ModelRow,
    method: Method,
    training: Training,
    uses: Sequence[FileUse],
    rows: Mapping[str, FileRow],
    *,
    gpus: int,
    classes: Sequence[WorkerClass],
) -> Work:
    """The job as preflight sees it."""
    shape = ModelShape.model_validate(model.shape)
    # what only measures is no part of what a method draws of the set
    names = [f"{use.name} to measure" if use.part == "measures" else use.name for use in uses]
    files = [(name, rows[use.file].records, rows[use.file].size) for name, use in zip(names, uses, strict=True)]
    sets = Text.of_sets(files, shape)
    # where nothing else is said, the workers' processors are taken to be like this one
    said = [one.bfloat16 for one in classes if one.bfloat16 is not None and not one.gpus]
    quick = all(said) if said else quick_bfloat16()
    return Work(shape, method, training, sets, gpus=gpus, dtype=model.dtype, bfloat16=quick)


def refuse_what_cannot_fit(work: Work, classes: Sequence[WorkerClass]) -> None:
    """Problem (422, `does-not-fit`): no declared class holds it; says by how much, and the smallest changes that do."""
    found = fitting.shortage(work, classes)
    if found is None:
        return
    changes = fitting.changes(work, classes)
    errors = [FieldError(pointer=one.pointer, detail=words.change(one)) for one in (changes[0] if changes else ())]
    detail = f"{words.lack(found, work.gpus)}; {words.advice(changes)}"
    raise Problem(422, "does-not-fit", detail, errors)


async def expected(session: AsyncSession, organisation: str, model: str, work: Work) -> Estimate:
    """The estimate, with the time that the organisation's earlier jobs on as many GPUs speak for."""
    runs = []
    for of, shape, before, cost in await throughput.costs(session, organisation, gpus=work.gpus):
        taken: dict[str, float] = cost["seconds"]
        unlearning = taken.get("unlearning", 0.0)
        runs.append(
            duration.Run(
                model=of,
                parameters=shape["parameters"] if shape else 0,
                tokens=cost["tokens"],
                unlearning_seconds=unlearning,
                other_seconds=sum(taken.values()) - unlearning,
                expected_tokens=before["tokens"] if before else None,
            )
        )
    return estimate(work, seconds=duration.seconds(work, model, runs))
