"""Advice for a job that ran out of memory: the changes of the request that, by preflight, would take less."""

from collections.abc import Sequence

from core.preflight import capacity, messages
from core.preflight.measure_workload import MeasureWorkload
from core.preflight.processor import has_fast_bfloat16
from core.preflight.unlearn_workload import UnlearnWorkload
from core.preflight.workload import SetSize, Workload
from core.schema.jobs import JobError, Phase
from core.schema.models import ModelShape
from core.schema.preflight import WorkerClass
from core.schema.training import Training
from core.unlearning.objectives import resolve
from worker.assignment import Assignment

_PHASES: dict[Phase, tuple[str, ...]] = {
    "loading": ("loading",),
    "measuring_before": ("measuring",),
    "unlearning": ("preparing", "unlearning", "updating"),
    "saving": ("saving",),
    "measuring_after": ("measuring again",),
    "attacking": ("measuring again",),
}
"""The job's phases, in preflight's terms."""


def with_memory_advice(error: JobError, assigned: Assignment, phase: Phase, classes: Sequence[WorkerClass]) -> JobError:
    """Returns the error, with advice in its message where the job ran out of memory in this phase."""
    job = assigned.job
    if error.code != "out_of_memory" or assigned.model.shape is None or job.kind == "measure":
        return error
    shape = ModelShape.model_validate(assigned.model.shape)
    training = Training.model_validate(job.training)
    sets = SetSize.from_files([(use.name, row.records, row.size) for use, row in assigned.sets], shape)
    gpus, dtype, bfloat16 = job.gpus, assigned.model.dtype, has_fast_bfloat16()
    workload: Workload
    if job.kind == "preview":
        workload = MeasureWorkload(shape, training, sets, gpus=gpus, dtype=dtype, bfloat16=bfloat16)
    else:
        method = resolve(job.method, job.parameters)
        workload = UnlearnWorkload(shape, training, sets, method=method, gpus=gpus, dtype=dtype, bfloat16=bfloat16)
    advice = messages.savings_advice(capacity.memory_savings(workload, _PHASES[phase], classes))
    return error.model_copy(update={"message": f"{error.message}; {advice}"})
