"""What a job took: time, tokens, memory and model FLOPs."""

from pydantic import Field

from core.schema.strict import Strict


class JobCost(Strict):
    """The cost of the attempt that ended the job. Model FLOPs are an estimate by closed form (docs/measurements.md).

    A field with a default is absent from jobs that ran before the service recorded it.
    """

    seconds: dict[str, float] = Field(
        description="Seconds of each phase. Loading a model again counts as a part of measuring it."
    )
    tokens: int = Field(description="Tokens put through the model by all updates, earlier attempts included.")
    peak_host_bytes: int = Field(description="The host's memory at its peak.")
    peak_device_bytes: int | None = Field(
        default=None, description="A GPU's memory at its peak. Null: the job ran without a GPU."
    )
    changed_share: float | None = Field(
        default=None, description="Share of the weights that differ from the weights that the job started with."
    )
    passed: dict[str, int] = Field(
        default={},
        description="Tokens that went through a model in each phase, forward alone or forward and backward.",
    )
    flops: dict[str, float] = Field(
        default={},
        description="Model FLOPs of these tokens in each phase. Tasks of lm-evaluation-harness are not counted.",
    )
    tokens_per_second: dict[str, float] = Field(
        default={},
        description="Speed in `unlearning`, and in `measuring` (all phases that measure). Absent where no token"
        " passed.",
    )
    retraining_flops: float | None = Field(
        default=None,
        description="Model FLOPs of training the model anew: 6 times its weights times its training tokens. Null: the"
        " model's registration names no `training_tokens`.",
    )
    retraining_share: float | None = Field(
        default=None, description="The job's model FLOPs, measuring included, as a share of `retraining_flops`."
    )
