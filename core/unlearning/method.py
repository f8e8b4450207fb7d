"""An unlearning method: its parameters, forget term, recipe and paper. Imports no torch, since the API reads it too."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, Literal, Protocol, runtime_checkable

from pydantic import Field

from core.schema.record import Record
from core.schema.strict import Strict
from core.schema.training import ConflictingGradients, RelearningDefence, Scheduler

if TYPE_CHECKING:
    from torch import Tensor

    from core.unlearning.method_context import MethodContext
    from core.unlearning.objective import Rows, Term
    from core.unlearning.tokenized_set import TokenizedSet

Need = Literal["forget", "retain", "unseen", "original"]
"""A set of records, or `original`: outputs of the reference model θ0, the model as it came, from before training."""

RetainTerm = Literal["none", "descent", "kl"]
AnyRetainTerm = Literal["none", "descent", "kl", "hidden"]
"""`hidden`, the squared distance from the reference model's hidden states, is for methods that work in one layer."""

AnswerGenerator = Callable[[list[Record]], list[str]]
"""Returns the reference model's own answers to the records' prompts, one for each record."""


class RetainWeightController(Protocol):
    """Sets the retain term's weight for each update, from the term values of the updates before."""

    def weight(self, step: int, steps: int) -> float:
        """The factor on `retain_weight` at `step` of `steps`, counted from 0."""
        ...

    def observe(self, step: int, steps: int, terms: Mapping[str, float]) -> None:
        """Takes each term's unweighted value, by name, after the update of `step`."""
        ...

    def state(self) -> dict[str, float]:
        """The state that `restore` continues from; JSON."""
        ...

    def restore(self, state: Mapping[str, float]) -> None: ...


@runtime_checkable
class MovingTargets(Protocol):
    """A forget term whose targets move with the model.

    Snapshots hold no targets: they must follow from the weights before the update alone.
    """

    def update_targets(self, records: Sequence[int]) -> None:
        """Computes the targets of the forget records of the next update. All ranks call it, at the same time."""
        ...

    def __call__(self, rows: "Rows") -> "Tensor": ...


class Paper(Strict):
    title: str
    url: str


class Recipe(Strict):
    """A method's training defaults for models of one size, where the request leaves them out."""

    learning_rate: float
    scheduler: Scheduler
    warmup: float
    weight_decay: float = 0.0
    epochs: int
    records_per_step: int
    max_length: int
    gradient_clip: float = 1.0
    micro_batch_tokens: int
    relearning_defence: RelearningDefence = "none"
    conflicting_gradients: ConflictingGradients = "add"


class RetainSpec(Strict):
    """A retain term on one set: its kind, its weight, and the set's records per forget record in a step."""

    term: AnyRetainTerm
    weight: float
    ratio: float


class RehearsalSpec(RetainSpec):
    """A retain term on samples of the reference model: at most `texts` of them, drawn at `temperature`, the first token
    of every second one at `first_temperature`."""

    texts: int
    temperature: float
    first_temperature: float


class SplicedSpec(RetainSpec):
    """A retain term on at most `texts` texts that are spliced of unseen records and samples of the reference model."""

    texts: int


REHEARSAL_MAX_TOKENS = 256
"""Tokens of a rehearsal sample at most, whatever the forget set's length."""


def rehearsal_length(tokens: int, *, shorter: bool = False) -> int:
    """The length of samples for a forget set whose chunks have so many tokens: at most a quarter longer, or with
    `shorter` at most a fifth shorter.

    Few different lengths (4, 5, 6 or 7 times a power of two) let jobs on one model share their samples.
    """
    step = 1 << max(0, tokens.bit_length() - 3)
    return min(REHEARSAL_MAX_TOKENS, (tokens if shorter else tokens + step - 1) // step * step)


YAO_2024 = Paper(
    title="Machine Unlearning of Pre-trained Large Language Models", url="https://arxiv.org/abs/2402.15159"
)

SMALL = Recipe(
    learning_rate=3e-4,
    scheduler="linear",
    warmup=0.0,
    epochs=4,
    records_per_step=16,
    max_length=1024,
    micro_batch_tokens=4096,
)
"""For models of some millions of parameters, which learn in few, large steps."""

LARGE = Recipe(
    learning_rate=2e-5,
    scheduler="cosine",
    warmup=0.03,
    epochs=1,
    records_per_step=512,
    max_length=4096,
    micro_batch_tokens=8192,
)
"""For models of billions of parameters: the recipe of YAO_2024."""


TOFU = LARGE.model_copy(
    update={"learning_rate": 1e-5, "scheduler": "linear", "warmup": 0.1, "epochs": 10, "records_per_step": 32}
)
"""The recipe of most papers for the few hundred records of TOFU (arXiv 2401.06121): ten epochs, the first a warm-up."""


class Method(Strict, ABC):
    """One way to unlearn; an instance holds its parameters.

    Training minimises forget_weight * (forget term) + retain_weight * (retain term). A method is one subclass in a file
    of `objectives`, where the catalogue finds it.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    formula: ClassVar[str]
    """The forget term in plain notation: l_t = -log p(x_t | x_<t), n scored tokens, p0 and l0 the reference model's."""
    paper: ClassVar[Paper]
    small: ClassVar[Recipe] = SMALL
    large: ClassVar[Recipe] = LARGE
    needs_original: ClassVar[bool] = False
    """The forget term is computed from outputs of the reference model."""

    needs_unseen: ClassVar[bool] = False
    """The forget term is calibrated by the unseen set."""

    whole_records: ClassVar[bool] = False
    """The forget term is no mean over tokens: it needs all of a record's token losses at once."""

    extra_slices: ClassVar[int] = 0
    """Slices of logits in float32 that the forget term needs beside those of a loss and a KL."""

    tunable: ClassVar[bool] = True
    """Whether `training.tune` may be `auto`: each state of the training is a result that could be delivered."""

    pairs: ClassVar[bool] = False
    """The forget term is computed from each record and its alternate; `Rows.alternate` tells their rows apart."""

    forget_weight: float = Field(default=1.0, ge=0, le=1e6, description="the factor on the forget term")
    retain_term: RetainTerm = Field(
        default="none",
        description="the term on the retain set: none, descent on its loss, or KL to the reference model's p",
    )
    retain_weight: float = Field(default=1.0, ge=0, le=1e6, description="the factor on the retain term")
    retain_ratio: float = Field(default=1.0, gt=0, le=1000, description="retain records per forget record in a step")

    def layer(self, layers: int) -> int | None:
        """The layer (from 0, of `layers`) whose residual stream the forget term is computed from; None: the logits."""
        return None

    def trained_weights(self, layers: int) -> list[str] | None:
        """Name patterns of the weights that this method trains; None: `training.trainable` says."""
        return None

    def rewrite(self, records: list[Record], generate: AnswerGenerator, seed: int) -> list[Record]:
        """The records that the forget term trains on, one for each forget record, in the same order.

        A method with `pairs` gives each record an `alternate` here, unless the records bring their own.
        """
        return records

    def weight_controller(
        self, context: "MethodContext", retain: "list[tuple[TokenizedSet, float]]"
    ) -> RetainWeightController | None:
        """Returns a controller of the retain weight, or None where the weight is constant.

        `retain` are the retain sets and their shares, which sum to 1.
        """
        return None

    def final_weight(self, trained: "Tensor", original: "Tensor") -> "Tensor":
        """The weight that the checkpoint gets, from the weight after and before training.

        Must have the form original + k (trained - original), so that it applies to an adapter, which is the difference.
        """
        return trained

    @abstractmethod
    def forget_term(self, context: "MethodContext") -> "Term":
        """Returns the forget term, a function of a micro-batch's scored tokens, after computing once what it needs.

        A term that has `MovingTargets` is called with the forget records before each update.
        """

    def forget_row_term(self, context: "MethodContext") -> "Term | None":
        """Returns a term of each token by its logits, which is added to the forget term; None: there is none."""
        return None

    def retain_spec(self) -> RetainSpec:
        """The retain term on the retain set; of the kind `none` for methods without."""
        return RetainSpec(term=self.retain_term, weight=self.retain_weight, ratio=self.retain_ratio)

    def unseen_spec(self) -> RetainSpec | None:
        """The retain term on the calibrating half of the unseen set; None: no such term."""
        return None

    def moves_targets(self) -> bool:
        """Whether the forget term's targets move with the model's losses on unseen records.

        The calibrating records are then halved: one half for the targets, the other for the unseen retain term.
        """
        return False

    def rehearsal_spec(self) -> RehearsalSpec | None:
        """The retain term on samples of the reference model; None: no such term."""
        return None

    def spliced_spec(self) -> SplicedSpec | None:
        """The retain term on spliced texts; None: no such term. It needs unseen records and rehearsal samples."""
        return None

    def needs(self) -> set[Need]:
        """The sets that a job with these parameters must have, and `original` where it uses the reference model."""
        needed: set[Need] = {"forget"}
        if self.retain_term != "none":
            needed.add("retain")
        if self.needs_unseen:
            needed.add("unseen")
        if self.needs_original or self.retain_term not in ("none", "descent"):
            needed.add("original")
        return needed
