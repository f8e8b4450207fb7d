"""The measurements of a job that unlearns, cheaper where they would cost more than the unlearning."""

from collections.abc import Sequence
from pathlib import Path

from core.evaluation.measurement import Measurement
from core.preflight.measuring_cost import planned_measurements
from core.preflight.unlearn_workload import UnlearnWorkload
from core.preflight.workload import SetSize
from core.schema.job_spec import RecordSet, UnlearnSpec
from core.schema.model_files import UnusableModel
from core.schema.model_shape import read_shape
from core.unlearning.method import Method


def plan_measuring(
    spec: UnlearnSpec, method: Method, measurements: Sequence[Measurement], sets: Sequence[RecordSet]
) -> tuple[list[Measurement], str | None]:
    """Returns the job's measurements, in their order, and a warning that names what is measured less; None: nothing is.

    The cost of both follows from the request, the records and the model's shape, not from the machine. A model whose
    files do not tell its shape is measured as requested.
    """
    directory = spec.directory.resolve()
    try:
        # links may lead anywhere here: the API has refused those that leave the allowed folders
        shape = read_shape(directory, root=Path(directory.anchor))
    except UnusableModel:
        return list(measurements), None
    files = [
        (f"{records.name} to measure" if records.part == "measures" else str(records.name), len(records.records), size)
        for records in sets
        for size in [sum(len(text.encode()) for record in records.records for text in record.texts())]
    ]
    workload = UnlearnWorkload(
        shape, spec.training, SetSize.from_files(files, shape), method=method, measurements=measurements
    )
    planned = list(planned_measurements(workload))
    changes = [
        f"{before.name} with {', '.join(changed)}"
        for before, after in zip(measurements, planned, strict=True)
        if (changed := _changed_parameters(before, after))
    ]
    if not changes:
        return planned, None
    return planned, (
        f"measuring would cost more than unlearning, so it is shortened: {'; '.join(changes)}. Parameters that the"
        " request names in evaluation.measure stay as they are"
    )


def _changed_parameters(before: Measurement, after: Measurement) -> list[str]:
    values, old = after.model_dump(mode="json"), before.model_dump(mode="json")
    return [f"{name} {values[name]} instead of {old[name]}" for name in values if values[name] != old[name]]
