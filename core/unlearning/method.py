"""What a method is: parameters, a forget term, and where it comes from. Without torch, since the API reads it too."""

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from core.schema.strict import Strict
from core.schema.training import Scheduler

if TYPE_CHECKING:
    from core.unlearning.objective import Term
    from core.unlearning.stage import Stage

Need = Literal["forget", "retain", "unseen", "original"]
"""A set of records, or `original`: outputs of the model as it came in, computed once before training."""

RetainTerm = Literal["none", "descent", "kl"]


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


class Hold(Strict):
    """A term that holds on to a set: which one, its weight, and how many of the set's records per forget record."""

    term: RetainTerm
    weight: float
    ratio: float


class Rehearsal(Hold):
    """The same for samples of the original model: at most so many, drawn at this temperature."""

    texts: int
    temperature: float


SEED_PAPER = Paper(
    title="Machine Unlearning of Pre-trained Large Language Models", url="https://arxiv.org/abs/2402.15159"
)

SMALL = Recipe(
    learning_rate=3e-4,
    scheduler="linear",
    warmup=0.0,
    epochs=4,
    records_per_step=16,
    max_length=1024,
    micro_batch_tokens=16384,
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


class Method(Strict, ABC):
    """One way to unlearn: an instance holds its parameters.

    The objective is always forget_weight * (forget term) + retain_weight * (retain term), minimised. A method is one
    file in `objectives` with one subclass of this; everything else finds it there.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    paper: ClassVar[Paper]
    small: ClassVar[Recipe] = SMALL
    large: ClassVar[Recipe] = LARGE
    needs_original: ClassVar[bool] = False
    needs_unseen: ClassVar[bool] = False
    whole_records: ClassVar[bool] = False
    """The forget term is not a mean over tokens, so it must see all of a record's token losses at once."""

    forget_weight: float = Field(default=1.0, ge=0, le=1e6)
    retain_term: RetainTerm = Field(
        default="none", description="what is done on the retain set: nothing, descend on it, or keep the original's p"
    )
    retain_weight: float = Field(default=1.0, ge=0, le=1e6)
    retain_ratio: float = Field(default=1.0, gt=0, le=1000, description="retain records per forget record in a step")

    @abstractmethod
    def forget_term(self, stage: "Stage") -> "Term":
        """Computes once what the term needs, and returns it as a function of a micro-batch's scored tokens."""

    def hold_retain(self) -> Hold:
        return Hold(term=self.retain_term, weight=self.retain_weight, ratio=self.retain_ratio)

    def hold_unseen(self) -> Hold | None:
        """How the calibrating part of the unseen set is held, by methods that do."""
        return None

    def hold_rehearsal(self) -> Rehearsal | None:
        """How the original's own samples are held, by methods that do."""
        return None

    def needs(self) -> set[Need]:
        """What a job with these parameters cannot do without."""
        needed: set[Need] = {"forget"}
        if self.retain_term != "none":
            needed.add("retain")
        if self.needs_unseen:
            needed.add("unseen")
        if self.needs_original or self.retain_term == "kl":
            needed.add("original")
        return needed
