"""The estimate of a job, as the API shows it."""

from core.preflight import measuring_cost
from core.preflight.memory import Memory
from core.preflight.workload import Workload
from core.schema.preflight import Estimate


def estimate(workload: Workload, *, seconds: float | None = None) -> Estimate:
    """Estimates a job. On the CPU, bytes are an upper bound. `seconds` come from `core.preflight.duration`."""
    memory = Memory(workload)
    return Estimate(
        gpus=workload.gpus,
        parameters=workload.shape.parameters,
        trained_parameters=workload.trained_parameters,
        tokens=workload.trained_tokens,
        measured_tokens=measuring_cost.total_measured_tokens(workload),
        peak_host_bytes=memory.peak("host").total("host"),
        peak_device_bytes=memory.peak("device").total("device") if workload.gpus else None,
        scratch_bytes=scratch_bytes(workload),
        seconds=seconds,
    )


def scratch_bytes(workload: Workload) -> int:
    """Returns the bytes on the worker's disk: the checkpoint, and with snapshots the newest one and the next one."""
    if workload.training.snapshot_every == 0:
        return workload.stored_bytes
    return workload.stored_bytes + 2 * Memory(workload).snapshot_bytes
