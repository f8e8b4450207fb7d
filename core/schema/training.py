"""How a job trains: what a request may set, and the defaults filled in for a model's size."""

from typing import Annotated, Literal

from pydantic import Field

from core.schema.strict import Strict

Scheduler = Literal["linear", "cosine", "constant"]
Optimizer = Literal["adamw", "adamw8bit", "sgd"]
Precision = Literal["auto", "float32", "bfloat16"]
MasterWeights = Literal["float32", "bfloat16"]
Chat = Literal["auto", "raw", "template"]
"""How `messages` become text: by the chat template, as the turns stand, or (`auto`) by it where it writes them."""

Pattern = Annotated[str, Field(min_length=1, max_length=256)]


class Lora(Strict):
    """Low-rank adapters (arXiv 2106.09685) in place of training the weights themselves."""

    rank: int = Field(default=16, ge=1, le=1024)
    alpha: float = Field(default=32.0, gt=0, le=1e6, description="the adapter's output is scaled by alpha / rank")
    modules: Literal["all-linear"] | list[Pattern] = Field(
        default="all-linear",
        description="names of the layers that get one, such as `q_proj` or `experts.down_proj`; `all-linear`: every"
        " linear layer and fused expert but the head and the routers",
    )


class Switches(Strict):
    """How a job spends memory and time; none of them changes what an update is, but for rounding."""

    trainable: Literal["all"] | list[Pattern] = Field(
        default="all", description="`all`, or shell patterns of weights' names, such as `model.layers.1*.mlp.*`"
    )
    lora: Lora | None = Field(default=None, description="train adapters and leave the weights as they are")
    master_weights: MasterWeights = Field(
        default="float32", description="bfloat16: half the memory, with stochastic rounding of every update"
    )
    checkpointing: bool = Field(default=False, description="recompute activations in the backward pass: less memory")
    compile: bool = Field(default=False, description="torch.compile: quicker steps after a slow first one")
    snapshot_every: int = Field(default=50, ge=0, le=1_000_000, description="updates between snapshots; 0: none")


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
    chat: Chat | None = Field(
        default=None,
        description="how `messages` become text: `auto` (the default) by the tokenizer's chat template where it has"
        " one that writes them, as the model is measured too, `template`, or `raw`",
    )
    precision: Precision | None = None
    seed: int | None = Field(default=None, ge=0, lt=2**31)
    gradient_clip: float | None = Field(default=None, gt=0)
    trainable: Literal["all"] | list[Pattern] | None = None
    lora: Lora | None = None
    master_weights: MasterWeights | None = None
    checkpointing: bool | None = None
    compile: bool | None = None
    snapshot_every: int | None = Field(default=None, ge=0, le=1_000_000)


class Training(Switches):
    """The same with every default filled in: what the trainer runs by and what the job shows."""

    learning_rate: float
    scheduler: Scheduler
    warmup: float
    optimizer: Optimizer
    weight_decay: float
    epochs: int
    records_per_step: int
    max_length: int
    chat: Chat
    precision: Precision
    seed: int
    gradient_clip: float
    micro_batch_tokens: int = Field(description="tokens in one forward; does not change the update")
