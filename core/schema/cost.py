"""What a job took: time, tokens, memory and model FLOPs."""

from pydantic import Field

from core.schema.strict import Strict


class JobCost(Strict):
    """The cost of the attempt that ended the job. Model FLOPs are an estimate by closed form (docs/measurements.md).

    A field with a default is absent from jobs that ran before the service recorded it.
    """

    seconds: dict[str, float] = Field(
        description="seconds of each phase; to load a model again counts as a part of measuring it"
    )
    tokens: int = Field(description="tokens put through the model by all updates, earlier attempts included")
    peak_host_bytes: int = Field(description="the host's memory at its peak")
    peak_device_bytes: int | None = Field(
        default=None, description="a GPU's memory at its peak; null: the job ran without a GPU"
    )
    changed_share: float | None = Field(
        default=None, description="share of the weights that differ from the weights that the job started with"
    )
    passed: dict[str, int] = Field(
        default={},
        description="tokens that went through a model in each phase, forward alone or forward and backward",
    )
    flops: dict[str, float] = Field(
        default={},
        description="model FLOPs of these tokens in each phase; tasks of lm-evaluation-harness are not counted",
    )
    tokens_per_second: dict[str, float] = Field(
        default={},
        description="speed in `unlearning`, and in `measuring` (all phases that measure); absent where no token passed",
    )
    retraining_flops: float | None = Field(
        default=None,
        description="model FLOPs of training the model anew: 6 times its weights times its training tokens; null: the"
        " model's registration names no `training_tokens`",
    )
    retraining_share: float | None = Field(
        default=None, description="the job's model FLOPs, measuring included, as a share of `retraining_flops`"
    )
