"""What a job will take: said before it is queued, by closed form, and kept beside it."""

from pydantic import Field

from core.schema.models import MODEL_ID
from core.schema.strict import Answer, Strict


class WorkerClass(Strict):
    """A kind of machine that the operator has, as WORKER_CLASSES declares it."""

    name: str = Field(pattern=MODEL_ID)
    gpus: int = Field(default=0, ge=0, le=64, description="GPUs of one machine")
    memory_bytes: int = Field(gt=0, description="of each GPU; without GPUs, the memory that a job may use")
    host_bytes: int | None = Field(
        default=None, gt=0, description="with GPUs: the host's memory that a job may use; not checked where not said"
    )
    bfloat16: bool | None = Field(
        default=None, description="without GPUs: the processor multiplies it itself; where not said, as the API's own"
    )


class Estimate(Answer):
    """What the service expected of a job when it was submitted. Bytes are an upper bound on the CPU."""

    gpus: int = Field(description="GPUs that the job asks for")
    parameters: int = Field(description="weights of the model")
    trained_parameters: int = Field(description="weights that are trained")
    tokens: int = Field(description="put through the model by all updates, about; 0 of a job that only measures")
    measured_tokens: int | None = Field(
        default=None, description="put through the model by measuring, about; null in jobs that ran before it was said"
    )
    peak_host_bytes: int = Field(description="memory of the host at its peak")
    peak_device_bytes: int | None = Field(description="of each GPU; null: the job runs without")
    scratch_bytes: int = Field(description="the worker's disk: the checkpoint being written, and snapshots")
    seconds: float | None = Field(
        description="by what earlier jobs took; where there was none, by a rough guess at the machine's speed"
    )
