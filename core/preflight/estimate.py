"""The estimate of a job, as the API shows it."""

from core.preflight import flops
from core.preflight.memory import Memory
from core.preflight.parameter_counts import trained_parameters
from core.preflight.workload import Workload
from core.schema.preflight import Estimate


def estimate(work: Workload, *, seconds: float | None = None) -> Estimate:
    """What the job takes. Bytes are an upper bound on the CPU; `seconds` come from `core.preflight.duration`."""
    memory = Memory(work)
    return Estimate(
        gpus=work.gpus,
        parameters=work.shape.parameters,
        trained_parameters=trained_parameters(work),
        tokens=work.tokens,
        measured_tokens=flops.total_measured_tokens(work),
        peak_host_bytes=memory.peak("host").total("host"),
        peak_device_bytes=memory.peak("device").total("device") if work.gpus else None,
        scratch_bytes=scratch_bytes(work),
        seconds=seconds,
    )


def scratch_bytes(work: Workload) -> int:
    """The worker's disk: the checkpoint, and with snapshots the newest one and the one being written; nothing of a job
    that only measures."""
    if work.method is None or work.training.snapshot_every == 0:
        return work.stored_bytes
    return work.stored_bytes + 2 * Memory(work).snapshot_bytes
