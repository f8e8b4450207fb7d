"""A job as preflight sees it: the model's shape, the training, and the sizes of its sets."""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from core.evaluation.measurement import Measurement
from core.evaluation.measurements.exposure import Exposure
from core.schema.models import ModelShape
from core.schema.training import Training
from core.schema.weight_files import DTYPES
from core.unlearning.eval_tokenization import eval_settings

PhaseName = Literal["loading", "measuring", "preparing", "unlearning", "updating", "saving", "measuring again"]
"""A phase in preflight's terms."""

DTYPE_BYTES = dict(DTYPES.values())
_BYTES_PER_TOKEN = 3.0
"""Assumed where the model's shape does not say."""
SPREAD = 1.25
"""How much longer than the mean the records of one update may be."""
_LONGEST = 4
"""How much longer than the mean one record may be."""
_TWINS: int = Exposure.model_fields["twins"].default + 1
"""A record and its twins, which go through the model together."""


@dataclass(frozen=True)
class SetSize:
    """The size of a set: its records, and about how many tokens they have together."""

    records: int
    tokens: int

    @classmethod
    def from_file(cls, *, records: int, size: int, shape: ModelShape) -> "SetSize":
        """Estimates the tokens from a file's bytes. JSON's own characters make up for text with shorter tokens."""
        return cls(records, max(2 * records, math.ceil(size / (shape.bytes_per_token or _BYTES_PER_TOKEN))))

    @classmethod
    def from_files(cls, files: Iterable[tuple[str, int, int]], shape: ModelShape) -> "dict[str, SetSize]":
        """Returns the sizes by set, from files `(set, records, bytes)`. A set may consist of several files."""
        sets: dict[str, SetSize] = {}
        for name, records, size in files:
            file, total = cls.from_file(records=records, size=size, shape=shape), sets.get(name, cls(0, 0))
            sets[name] = cls(total.records + file.records, total.tokens + file.tokens)
        return sets

    @property
    def mean(self) -> float:
        """Tokens of the mean record."""
        return self.tokens / max(self.records, 1)


@dataclass(frozen=True)
class StepDraw:
    """The records and tokens that an update takes from one set.

    `reference_tokens` are the tokens of the set on which the reference model's last hidden states are kept.
    """

    name: str
    records: int
    tokens: float
    reference_tokens: int


@dataclass(frozen=True)
class Workload(ABC):
    """Everything that an estimate depends on. Each kind of job answers for its training."""

    shape: ModelShape
    training: Training
    sets: Mapping[str, SetSize] = field(default_factory=dict)
    gpus: int = 0
    dtype: str = "auto"
    """The dtype of checkpoints; `auto`: the model's own."""
    bfloat16: bool | None = None
    """Whether the processor multiplies bfloat16 directly; None: unknown."""
    measurements: Sequence[Measurement] = ()
    """Measurements of the model, made of each measured model."""

    @property
    @abstractmethod
    def phases(self) -> Sequence[PhaseName]:
        """Phases of the job, in order."""

    @property
    @abstractmethod
    def measured_models(self) -> int:
        """How many models the job measures: the model as it came, and the changed model."""

    @property
    @abstractmethod
    def stored_bytes(self) -> int:
        """Bytes of the checkpoint."""

    @property
    @abstractmethod
    def trained_patterns(self) -> Sequence[str] | Literal["all"]:
        """Patterns of the weights that training may change."""

    @property
    @abstractmethod
    def trained_parameters(self) -> int:
        """Weights that the optimiser holds."""

    @property
    @abstractmethod
    def memory_settings(self) -> frozenset[str]:
        """Settings of the request that have an effect on the job's memory."""

    @property
    @abstractmethod
    def gradient_measurements(self) -> Sequence[Measurement]:
        """Measurements whose gradients may be the most memory that the job takes."""

    @property
    @abstractmethod
    def copies_trained_weights(self) -> bool:
        """Whether a copy of the trained weights is kept from before training."""

    @property
    @abstractmethod
    def needs_untrained_model(self) -> bool:
        """Whether preparing takes an untrained model of the same shape."""

    @property
    @abstractmethod
    def extra_slices(self) -> int:
        """Slices of logits in float32 that an update needs beside those of a loss and a KL."""

    @abstractmethod
    def draws(self) -> list[StepDraw]:
        """Returns what one update takes from each set."""

    @property
    def chunk_length(self) -> int:
        """Tokens of the longest chunk."""
        return self.shape.within_context(self.training.max_length)

    @property
    def steps(self) -> int:
        """Updates of the training."""
        forget = self.set_size("forget").records
        return self.training.epochs * max(1, math.ceil(forget / self.training.records_per_step))

    @property
    def trained_tokens(self) -> int:
        """Tokens that all updates put through the model."""
        return math.ceil(self.steps * sum(draw.tokens for draw in self.draws()))

    @property
    def reference_tokens(self) -> int:
        """Tokens on which the reference model's last hidden states are kept."""
        return sum(draw.reference_tokens for draw in self.draws())

    @property
    def update_tokens(self) -> int:
        """Tokens of the largest update."""
        return math.ceil(SPREAD * sum(draw.tokens for draw in self.draws()))

    @property
    def training_batch_tokens(self) -> int:
        """Tokens in the largest forward of an update."""
        longest = max(map(self._longest_record, self.sets.values())) if self.sets else self.chunk_length
        return max(min(self.training.micro_batch_tokens, self.update_tokens), longest)

    @property
    def measuring_batch_tokens(self) -> int:
        """Tokens in the largest forward of measuring."""
        longest_mean = max((size.mean for size in self.sets.values()), default=0.0)
        largest_set = max((size.tokens for size in self.sets.values()), default=self.chunk_length)
        most = max(largest_set, math.ceil(_TWINS * longest_mean))
        length = eval_settings(self.training, context=self.shape.context).max_length
        return max(min(self.training.micro_batch_tokens, most), min(length, most))

    def set_size(self, name: str) -> SetSize:
        """Returns the size of a set; an absent set is empty."""
        return self.sets.get(name, SetSize(0, 0))

    def _longest_record(self, size: SetSize) -> int:
        return min(self.chunk_length, math.ceil(_LONGEST * size.mean))
