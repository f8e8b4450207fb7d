"""How a job trains: what a request may set, and the defaults filled in for a model's size."""

from typing import Annotated, Literal

from pydantic import Field

from core.schema.strict import Strict

Scheduler = Literal["linear", "cosine", "constant"]
Optimizer = Literal["adamw", "adamw8bit", "sgd"]
Precision = Literal["auto", "float32", "bfloat16"]
MasterWeights = Literal["float32", "bfloat16"]
Chat = Literal["auto", "raw", "template"]
"""How `messages` become text, all of a job's alike: by the chat template, as the turns stand, or (`auto`) by the
template where the tokenizer has one."""

Pattern = Annotated[str, Field(min_length=1, max_length=256)]


class Lora(Strict):
    """Low-rank adapters (arXiv 2106.09685) in place of training the weights themselves."""

    rank: int = Field(default=16, ge=1, le=1024, description="of the two small matrices")
    alpha: float = Field(default=32.0, gt=0, le=1e6, description="the adapter's output is scaled by alpha / rank")
    modules: Literal["all-linear"] | list[Pattern] = Field(
        default="all-linear",
        description="names of the layers that get one, such as `q_proj` or `experts.down_proj`; `all-linear`: every"
        " linear layer and fused expert but the head and the routers",
    )


class EfficiencyOptions(Strict):
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

    learning_rate: float | None = Field(default=None, gt=0, le=1, description="at its highest")
    scheduler: Scheduler | None = Field(default=None, description="how the rate falls after the warm-up")
    warmup: float | None = Field(default=None, ge=0, le=0.5, description="share of the steps")
    optimizer: Optimizer | None = Field(
        default=None, description="what makes an update of a gradient; `adamw8bit` takes less memory"
    )
    weight_decay: float | None = Field(default=None, ge=0, le=1, description="of AdamW, decoupled")
    epochs: int | None = Field(default=None, ge=1, le=1000, description="passes over the forget set")
    records_per_step: int | None = Field(default=None, ge=1, le=65536, description="forget records per update")
    max_length: int | None = Field(default=None, ge=2, le=1_048_576, description="tokens; longer records are chunked")
    chat: Chat | None = Field(
        default=None,
        description="how all `messages` become text: `auto` (the default) by the tokenizer's chat template where it has"
        " one, else as `raw`; `template`; `raw`: turn by turn, without roles. A record that the template refuses is an"
        " error, never read in another way",
    )
    precision: Precision | None = Field(
        default=None, description="of products with weights; `auto`: bfloat16 where the device multiplies it itself"
    )
    seed: int | None = Field(default=None, ge=0, lt=2**31, description="of everything that is drawn")
    gradient_clip: float | None = Field(default=None, gt=0, description="largest norm of a gradient")
    trainable: Literal["all"] | list[Pattern] | None = Field(
        default=None, description="`all`, or shell patterns of weights' names, such as `model.layers.1*.mlp.*`"
    )
    lora: Lora | None = Field(default=None, description="train adapters and leave the weights as they are")
    master_weights: MasterWeights | None = Field(
        default=None, description="bfloat16: half the memory, with stochastic rounding of every update"
    )
    checkpointing: bool | None = Field(
        default=None, description="recompute activations in the backward pass: less memory"
    )
    compile: bool | None = Field(default=None, description="torch.compile: quicker steps after a slow first one")
    snapshot_every: int | None = Field(
        default=None, ge=0, le=1_000_000, description="updates between snapshots; 0: none"
    )


class Training(EfficiencyOptions):
    """The same with every default filled in: what the trainer runs by and what the job shows."""

    learning_rate: float = Field(description="at its highest")
    scheduler: Scheduler = Field(description="how the rate falls after the warm-up")
    warmup: float = Field(description="share of the updates in which the rate rises")
    optimizer: Optimizer = Field(description="what makes an update of a gradient")
    weight_decay: float = Field(description="of AdamW, decoupled")
    epochs: int = Field(description="passes over the forget set")
    records_per_step: int = Field(description="forget records per update")
    max_length: int = Field(description="tokens of a chunk; longer records are cut")
    chat: Chat = Field(description="how `messages` become text")
    precision: Precision = Field(description="of products with weights")
    seed: int = Field(description="of everything that is drawn")
    gradient_clip: float = Field(description="largest norm of a gradient")
    micro_batch_tokens: int = Field(description="tokens in one forward; does not change the update")
