"""Estimates of a job's memory and time, made when it is submitted, and the machines that it may run on."""

from pydantic import Field

from core.schema.models import MODEL_ID
from core.schema.strict import Answer, Strict


class WorkerClass(Strict):
    """A kind of machine that the operator has. The setting WORKER_CLASSES declares them."""

    name: str = Field(pattern=MODEL_ID, description="The class's name.")
    gpus: int = Field(default=0, ge=0, le=64, description="The number of GPUs of one machine.")
    memory_bytes: int = Field(gt=0, description="The memory of each GPU; without GPUs, the memory that a job may use.")
    host_bytes: int | None = Field(
        default=None,
        gt=0,
        description="With GPUs: the host's memory that a job may use. Null: the host's memory is not checked.",
    )
    bfloat16: bool | None = Field(
        default=None,
        description="Without GPUs: whether the processor multiplies bfloat16 directly. Null: as the API's own does.",
    )


class Estimate(Answer):
    """The service's estimate of a job when it was submitted. On the CPU, bytes are an upper bound."""

    gpus: int = Field(description="The number of GPUs that the job asks for.")
    parameters: int = Field(description="The number of weights of the model.")
    trained_parameters: int = Field(description="The number of weights that are trained.")
    tokens: int = Field(
        description="About how many tokens all updates put through the model. 0: the job only measures."
    )
    measured_tokens: int | None = Field(
        default=None,
        description="About how many tokens the measurements put through the model. Null for jobs of earlier versions.",
    )
    peak_host_bytes: int = Field(description="The host's memory at its peak.")
    peak_device_bytes: int | None = Field(
        description="The memory of each GPU at its peak. Null: the job runs without a GPU."
    )
    scratch_bytes: int = Field(
        description="The worker's disk space: the checkpoint, while it is written, and snapshots."
    )
    seconds: float | None = Field(
        description="The job's duration. Estimated from the organisation's earlier jobs on this model; without any,"
        " from the throughput that the workers measured when they started; before any worker has, from its earlier jobs"
        " on other models, or from a rough guess at the machine's speed."
    )
