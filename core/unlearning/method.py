"""What a method is: parameters, a forget term, and where it comes from. Without torch, since the API reads it too."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, Literal, Protocol, runtime_checkable

from pydantic import Field

from core.schema.record import Record
from core.schema.strict import Strict
from core.schema.training import Scheduler

if TYPE_CHECKING:
    from torch import Tensor

    from core.unlearning.method_context import MethodContext
    from core.unlearning.objective import Rows, Term
    from core.unlearning.tokenized_set import TokenizedSet

Need = Literal["forget", "retain", "unseen", "original"]
"""A set of records, or `original`: outputs of the model as it came in, computed once before training."""

RetainTerm = Literal["none", "descent", "kl"]
AnyRetainTerm = Literal["none", "descent", "kl", "hidden"]
"""`hidden`, the squared distance of hidden states from the original's, is for methods that work in a layer."""

AnswerGenerator = Callable[[list[Record]], list[str]]
"""What the original model answers to the records' prompts, in its own words."""


class RetainWeightController(Protocol):
    """Sets the retain terms' weight anew for each update, by what the updates before it came to."""

    def weight(self, step: int, steps: int) -> float:
        """What the retain terms' own weight is multiplied by at `step` of `steps` (from 0)."""
        ...

    def observe(self, step: int, steps: int, parts: Mapping[str, float]) -> None:
        """Told each term's value, by name, after the update of `step`."""
        ...

    def state(self) -> dict[str, float]:
        """What `restore` needs to go on from here."""
        ...

    def restore(self, state: Mapping[str, float]) -> None: ...


@runtime_checkable
class MovingTargets(Protocol):
    """A forget term whose goal moves with the model. What it takes from the weights must follow from the weights before
    the update alone: nothing of it is in a snapshot."""

    def follow(self, records: Sequence[int]) -> None:
        """Told the forget records of the update that comes; by every rank, at the same time."""
        ...

    def __call__(self, rows: "Rows") -> "Tensor": ...


class Paper(Strict):
    title: str
    url: str


class Recipe(Strict):
    """How a method trains a model of some size, where the request does not say."""

    learning_rate: float
    scheduler: Scheduler
    warmup: float
    weight_decay: float = 0.0
    epochs: int
    records_per_step: int
    max_length: int
    gradient_clip: float = 1.0
    micro_batch_tokens: int


class RetainSpec(Strict):
    """A term that holds on to a set: which one, its weight, and how many of the set's records per forget record."""

    term: AnyRetainTerm
    weight: float
    ratio: float


class RehearsalSpec(RetainSpec):
    """The same for samples of the original model: at most so many, drawn at this temperature."""

    texts: int
    temperature: float


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
"""For models of some millions of parameters, which are taught by few, large steps."""

LARGE = Recipe(
    learning_rate=2e-5,
    scheduler="cosine",
    warmup=0.03,
    epochs=1,
    records_per_step=512,
    max_length=4096,
    micro_batch_tokens=8192,
)
"""For billions of parameters: the seed paper's own."""


TOFU = LARGE.model_copy(
    update={"learning_rate": 1e-5, "scheduler": "linear", "warmup": 0.1, "epochs": 10, "records_per_step": 32}
)
"""What most papers train by on the few hundred records of TOFU (arXiv 2401.06121): ten epochs, the first a warm-up."""


class Method(Strict, ABC):
    """One way to unlearn: an instance holds its parameters.

    The objective is always forget_weight * (forget term) + retain_weight * (retain term), minimised. A method is one
    file in `objectives` with one subclass of this; everything else finds it there.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    formula: ClassVar[str]
    """The forget term in plain notation: l_t = -log p(x_t | x_<t), n scored tokens, p0 and l0 the original's."""
    paper: ClassVar[Paper]
    small: ClassVar[Recipe] = SMALL
    large: ClassVar[Recipe] = LARGE
    needs_original: ClassVar[bool] = False
    needs_unseen: ClassVar[bool] = False
    whole_records: ClassVar[bool] = False
    """The forget term is not a mean over tokens, so it must see all of a record's token losses at once."""

    pairs: ClassVar[bool] = False
    """The forget term sees each record's alternate too: `Rows.alternate` tells whose token a row is."""

    forget_weight: float = Field(default=1.0, ge=0, le=1e6, description="what the forget term is multiplied by")
    retain_term: RetainTerm = Field(
        default="none", description="what is done on the retain set: nothing, descend on it, or keep the original's p"
    )
    retain_weight: float = Field(default=1.0, ge=0, le=1e6, description="what the retain term is multiplied by")
    retain_ratio: float = Field(default=1.0, gt=0, le=1000, description="retain records per forget record in a step")

    def layer(self, layers: int) -> int | None:
        """The layer (from 0) whose residual stream the forget term looks at, of `layers`; None: at the logits."""
        return None

    def trained_weights(self, layers: int) -> list[str] | None:
        """Patterns of the only weights that this method trains, in place of `training.trainable`; None: it says."""
        return None

    def rewrite(self, records: list[Record], write: AnswerGenerator, seed: int) -> list[Record]:
        """The forget records as the forget term is to see them: one for one, so that the record stays the unit.

        A record that has an `alternate` afterwards is seen by a term of `pairs` with it.
        """
        return records

    def controller(
        self, context: "MethodContext", retain: "list[tuple[TokenizedSet, float]]"
    ) -> RetainWeightController | None:
        """What steers the retain weight, if anything does; `retain` are the sets and their shares, which sum to 1."""
        return None

    def final_weight(self, trained: "Tensor", original: "Tensor") -> "Tensor":
        """What the checkpoint holds of a weight, from what training made of it and what it was: original + k (trained -
        original), so that an adapter, which holds the difference alone, can be finished too."""
        return trained

    @abstractmethod
    def forget_term(self, context: "MethodContext") -> "Term":
        """Computes once what the term needs, and returns it as a function of a micro-batch's scored tokens.

        One that is `MovingTargets` is told before each update what the update is made of.
        """

    def retain_spec(self) -> RetainSpec:
        return RetainSpec(term=self.retain_term, weight=self.retain_weight, ratio=self.retain_ratio)

    def unseen_spec(self) -> RetainSpec | None:
        """How the calibrating part of the unseen set is held, by methods that do."""
        return None

    def follows(self) -> bool:
        """Whether the forget term follows a half of the unseen set, which then is not held."""
        return False

    def rehearsal_spec(self) -> RehearsalSpec | None:
        """How the original's own samples are held, by methods that do."""
        return None

    def needs(self) -> set[Need]:
        """What a job with these parameters cannot do without."""
        needed: set[Need] = {"forget"}
        if self.retain_term != "none":
            needed.add("retain")
        if self.needs_unseen:
            needed.add("unseen")
        if self.needs_original or self.retain_term not in ("none", "descent"):
            needed.add("original")
        return needed
