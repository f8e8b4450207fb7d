"""Model FLOPs of a job, in closed form from the model's shape. `core.lm.flops` counts them while the job runs."""

from core.preflight.workload import Workload
from core.schema.models import ModelShape

BACKWARD = 3
"""Model FLOPs of a token in an update, forward and backward, relative to forward alone (core.lm.flops)."""


def flops_per_token(shape: ModelShape) -> float:
    """Returns the model FLOPs of one token forward: two for every weight that multiplies, the head's included."""
    embedding = 0 if shape.tied else shape.vocabulary * shape.hidden_size
    return 2.0 * max(shape.parameters - embedding, shape.hidden_size)


def training_flops(workload: Workload) -> float:
    """Returns the model FLOPs of all updates, and of the reference model's pass over the sets that need it."""
    return flops_per_token(workload.shape) * (BACKWARD * workload.trained_tokens + workload.reference_tokens)
