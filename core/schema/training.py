"""Settings of the training: those that a request may name, and all of them with the defaults for a model's size."""

from typing import Annotated, Literal

from pydantic import Field

from core.schema.strict import Strict

Scheduler = Literal["linear", "cosine", "constant", "wsd"]
Optimizer = Literal["adamw", "adamw8bit", "sgd"]
Precision = Literal["auto", "float32", "bfloat16"]
MasterWeights = Literal["float32", "bfloat16"]
Tune = Literal["auto", "off"]
"""`auto`: the job finds its learning rate, stops when it is done, and delivers the best state that it saw."""
RelearningDefence = Literal["none", "selective", "attacker", "both"]
ConflictingGradients = Literal["add", "project"]
Chat = Literal["auto", "raw", "template"]
"""How a job reads all `messages`: by the chat template, turn by turn without roles (`raw`), or (`auto`) by the template
if the tokenizer has one."""

Pattern = Annotated[str, Field(min_length=1, max_length=256)]

# descriptions that the request and the filled-in settings share
_TUNE = (
    "`auto`: the job finds the learning rate by a short range test, stops once the calibrating records show that the"
    " forget set is treated like unseen text, and delivers the best state of the model that it saw; `learning_rate` is"
    " then where the test begins to search, and `epochs` the longest training. `off`: the training runs as it is set."
)
_LEARNING_RATE = "The highest learning rate of the training."
_SCHEDULER = (
    "How the learning rate falls after the warm-up. `wsd` (warm-up, stable, decay): it stays for 60 % of the remaining"
    " updates, then falls linearly. In a tuned training it falls as soon as two readings in a row say that forget text"
    " is like unseen text, and the training ends so much earlier."
)
_WARMUP = "The share of the updates in which the learning rate rises."
_OPTIMIZER = "The optimiser. `adamw8bit` needs less memory."
_WEIGHT_DECAY = "The decoupled weight decay of AdamW."
_EPOCHS = "Passes over the forget set."
_RECORDS_PER_STEP = (
    "Records of the forget set in one update. Without it: the method's recipe. Where the training is tuned, the model"
    " has more than 20 million weights and the request sets no epochs, it is so few that there are 80 updates if"
    " possible."
)
_MAX_LENGTH = "Tokens of the longest piece. A longer record is cut into pieces."
_CHAT = (
    "How all `messages` become text. `template`: by the tokenizer's chat template. `raw`: turn by turn, without roles."
    " `auto` (the default): by the template if the tokenizer has one, else as `raw`. A record that the template"
    " refuses is an error; it is never read in another way."
)
_PRECISION = (
    "The number format of products with weights. `auto`: bfloat16 if the hardware multiplies it directly, else float32."
)
_SEED = "The seed of every random choice."
_GRADIENT_CLIP = "The largest norm that a gradient may have. A larger gradient is scaled down to it."
_RELEARNING_DEFENCE = (
    "How forgetting is made to last, if somebody trains the model further. `selective`: the directions that all forget"
    " records share are held back in the forget term's gradient, so that each record is forgotten by itself; needs"
    " memory for one more gradient. `attacker`: an attacker who relearns a part of the forget set is simulated, and the"
    " forget term's gradient on other records at the attacked weights is added; needs memory for one more gradient and"
    " a copy of the trained weights, and as many tokens again as the forget set's part of the training. `both`: both."
    " `none`: neither."
)
_CONFLICTING_GRADIENTS = (
    "How the forget term's gradient is added to the retain terms'. `project`: from the forget gradient of each weight"
    " tensor the component against the running mean of the retain gradient is removed, so that forgetting does not undo"
    " what the retain terms repair; needs memory for two more gradients, and one GPU. `add`: as it is."
)
_TRAINABLE = (
    "The weights that are trained: `all`, or patterns of their names, such as `model.layers.1*.mlp.*` (`*` stands for"
    " any characters)."
)
_LORA = "Trains adapters and leaves the weights as they are."
_MASTER_WEIGHTS = (
    "The number format that weights are kept in. `bfloat16` needs half the memory and rounds each update"
    " stochastically."
)
_CHECKPOINTING = "Computes activations a second time in the backward pass, which needs less memory and more time."
_COMPILE = "Compiles the model with torch.compile: the first update is slow, the others are faster."
_SNAPSHOT_EVERY = "Updates between two snapshots, from which an interrupted job goes on. 0: no snapshots."


class Lora(Strict):
    """Low-rank adapters (arXiv 2106.09685), trained instead of the weights themselves."""

    rank: int = Field(default=16, ge=1, le=1024, description="The rank of each adapter's two small matrices.")
    alpha: float = Field(default=32.0, gt=0, le=1e6, description="The adapter's output is multiplied by alpha / rank.")
    modules: Literal["all-linear"] | list[Pattern] = Field(
        default="all-linear",
        description="The names of the layers that get an adapter, such as `q_proj` or `experts.down_proj`."
        " `all-linear`: every linear layer and every fused expert, except the head and the routers.",
    )


class EfficiencyOptions(Strict):
    """Settings of memory and time. None of them changes what an update computes, except by rounding."""

    trainable: Literal["all"] | list[Pattern] = Field(default="all", description=_TRAINABLE)
    lora: Lora | None = Field(default=None, description=_LORA)
    master_weights: MasterWeights = Field(default="float32", description=_MASTER_WEIGHTS)
    checkpointing: bool = Field(default=False, description=_CHECKPOINTING)
    compile: bool = Field(default=False, description=_COMPILE)
    snapshot_every: int = Field(default=50, ge=0, le=1_000_000, description=_SNAPSHOT_EVERY)


class TrainingRequest(Strict):
    """`training` of a request. The method and the model's size decide the settings that are left out."""

    tune: Tune | None = Field(
        default=None, description=f"{_TUNE} Without it: `auto` if the request sets no learning rate, else `off`."
    )
    learning_rate: float | None = Field(default=None, gt=0, le=1, description=_LEARNING_RATE)
    scheduler: Scheduler | None = Field(default=None, description=_SCHEDULER)
    warmup: float | None = Field(default=None, ge=0, le=0.5, description=_WARMUP)
    optimizer: Optimizer | None = Field(default=None, description=_OPTIMIZER)
    weight_decay: float | None = Field(default=None, ge=0, le=1, description=_WEIGHT_DECAY)
    epochs: int | None = Field(default=None, ge=1, le=1000, description=_EPOCHS)
    records_per_step: int | None = Field(default=None, ge=1, le=65536, description=_RECORDS_PER_STEP)
    max_length: int | None = Field(default=None, ge=2, le=1_048_576, description=_MAX_LENGTH)
    chat: Chat | None = Field(default=None, description=_CHAT)
    precision: Precision | None = Field(default=None, description=_PRECISION)
    seed: int | None = Field(default=None, ge=0, lt=2**31, description=_SEED)
    gradient_clip: float | None = Field(default=None, gt=0, description=_GRADIENT_CLIP)
    relearning_defence: RelearningDefence | None = Field(default=None, description=_RELEARNING_DEFENCE)
    conflicting_gradients: ConflictingGradients | None = Field(default=None, description=_CONFLICTING_GRADIENTS)
    trainable: Literal["all"] | list[Pattern] | None = Field(default=None, description=_TRAINABLE)
    lora: Lora | None = Field(default=None, description=_LORA)
    master_weights: MasterWeights | None = Field(default=None, description=_MASTER_WEIGHTS)
    checkpointing: bool | None = Field(default=None, description=_CHECKPOINTING)
    compile: bool | None = Field(default=None, description=_COMPILE)
    snapshot_every: int | None = Field(default=None, ge=0, le=1_000_000, description=_SNAPSHOT_EVERY)


class Training(EfficiencyOptions):
    """All settings of the training, defaults included: the trainer runs by them, and the job shows them."""

    tune: Tune = Field(default="off", description=_TUNE)
    learning_rate: float = Field(description=_LEARNING_RATE)
    scheduler: Scheduler = Field(description=_SCHEDULER)
    warmup: float = Field(description=_WARMUP)
    optimizer: Optimizer = Field(description=_OPTIMIZER)
    weight_decay: float = Field(description=_WEIGHT_DECAY)
    epochs: int = Field(description=_EPOCHS)
    records_per_step: int = Field(description=_RECORDS_PER_STEP)
    max_length: int = Field(description=_MAX_LENGTH)
    chat: Chat = Field(description=_CHAT)
    precision: Precision = Field(description=_PRECISION)
    seed: int = Field(description=_SEED)
    gradient_clip: float = Field(description=_GRADIENT_CLIP)
    relearning_defence: RelearningDefence = Field(default="none", description=_RELEARNING_DEFENCE)
    conflicting_gradients: ConflictingGradients = Field(default="add", description=_CONFLICTING_GRADIENTS)
    micro_batch_tokens: int = Field(
        description="Tokens that go through the model at once. The number changes the memory, not the update."
    )
