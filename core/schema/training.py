"""How a job trains: what a request may set, and the defaults filled in for a model's size."""

from typing import Literal

from pydantic import Field

from core.schema.strict import Strict

Scheduler = Literal["linear", "cosine", "constant"]
Optimizer = Literal["adamw", "sgd"]
Precision = Literal["auto", "float32", "bfloat16"]


class TrainingRequest(Strict):
    """`training` of a request: whatever is left out is filled in from the method and the model's size."""

    learning_rate: float | None = Field(default=None, gt=0, le=1)
    scheduler: Scheduler | None = None
    warmup: float | None = Field(default=None, ge=0, le=0.5, description="share of the steps")
    optimizer: Optimizer | None = None
    weight_decay: float | None = Field(default=None, ge=0, le=1)
    epochs: int | None = Field(default=None, ge=1, le=1000, description="passes over the forget set")
    records_per_step: int | None = Field(default=None, ge=1, le=65536, description="forget records per update")
    max_length: int | None = Field(default=None, ge=2, le=1_048_576, description="tokens; longer records are chunked")
    chat: Literal["raw", "template"] | None = None
    precision: Precision | None = None
    seed: int | None = Field(default=None, ge=0, lt=2**31)
    gradient_clip: float | None = Field(default=None, gt=0)


class Training(Strict):
    """The same with every default filled in: what the trainer runs by and what the job shows."""

    learning_rate: float
    scheduler: Scheduler
    warmup: float
    optimizer: Optimizer
    weight_decay: float
    epochs: int
    records_per_step: int
    max_length: int
    chat: Literal["raw", "template"]
    precision: Precision
    seed: int
    gradient_clip: float
    micro_batch_tokens: int = Field(description="padded tokens in one forward; does not change the update")
