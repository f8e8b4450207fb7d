"""What a job took."""

from pydantic import Field

from core.schema.strict import Strict


class JobCost(Strict):
    """Of the attempt that ended the job; model FLOPs are by closed form (docs/measurements.md), an estimate of none.

    What has a default was not said by jobs that ran before it was.
    """

    seconds: dict[str, float] = Field(description="per phase; that a model is loaded anew is part of measuring it")
    tokens: int = Field(description="put through the model by all updates, those of earlier attempts too")
    peak_host_bytes: int = Field(description="memory of the host at its peak")
    peak_device_bytes: int | None = Field(default=None, description="memory of a GPU at its peak; null: it ran without")
    changed_share: float | None = Field(default=None, description="share of the weights that differ from θ0's")
    passed: dict[str, int] = Field(
        default={}, description="per phase: tokens that went through a model, forward or forward and backward"
    )
    flops: dict[str, float] = Field(
        default={}, description="per phase: model FLOPs of those passes; tasks of lm-evaluation-harness have no part"
    )
    tokens_per_second: dict[str, float] = Field(
        default={}, description="of `unlearning`, and of `measuring` in all its phases; none where nothing passed"
    )
    retraining_flops: float | None = Field(
        default=None, description="6 N D of training the model anew; null: its registration names no training_tokens"
    )
    retraining_share: float | None = Field(
        default=None, description="the job's model FLOPs, measuring included, over `retraining_flops`"
    )
