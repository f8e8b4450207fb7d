"""A job as preflight sees it: the model's shape, the method, the training, and the sizes of its sets."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from core.evaluation.measurement import Measurement
from core.evaluation.measurements.exposure import Exposure
from core.schema.models import ModelShape
from core.schema.training import Training
from core.schema.weight_files import DTYPES
from core.unlearning.eval_tokenization import eval_settings
from core.unlearning.method import REHEARSAL_MAX_TOKENS, Method, RetainSpec

DTYPE_BYTES = dict(DTYPES.values())
_BYTES_PER_TOKEN = 3.0
"""Assumed where the model's shape does not say."""
_HALF = 0.6
"""Share of a set's tokens in the half that trains, with room for longer records."""
_SPREAD = 1.25
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
class Workload:
    """Everything that an estimate depends on."""

    shape: ModelShape
    method: Method | None
    """None: the job only measures, and changes nothing."""
    training: Training
    sets: Mapping[str, SetSize] = field(default_factory=dict)
    gpus: int = 0
    dtype: str = "auto"
    """The dtype of checkpoints; `auto`: the model's own."""
    bfloat16: bool | None = None
    """Whether the processor multiplies bfloat16 directly; None: unknown."""
    measurements: Sequence[Measurement] = ()
    """Measurements of the model, made before and after it is changed."""

    @property
    def chunk_length(self) -> int:
        """Tokens of the longest chunk."""
        return self.shape.within_context(self.training.max_length)

    @property
    def stored_bytes(self) -> int:
        """Bytes of the checkpoint."""
        if self.method is None:
            return 0
        return self.shape.bytes if self.dtype == "auto" else self.shape.parameters * DTYPE_BYTES[self.dtype]

    @property
    def steps(self) -> int:
        """Updates of the training."""
        forget = self._set("forget").records
        return self.training.epochs * max(1, math.ceil(forget / self.training.records_per_step))

    @property
    def trained_tokens(self) -> int:
        """Tokens that all updates put through the model."""
        if self.method is None:
            return 0
        return math.ceil(self.steps * sum(draw.tokens for draw in self.draws()))

    def draws(self) -> list[StepDraw]:
        """Returns what one update takes from each set; nothing where the job only measures."""
        if self.method is None:
            return []
        method, forget, unseen = self.method, self._set("forget"), self._set("unseen")
        records = max(1, min(self.training.records_per_step, forget.records))
        sides = 2 if method.pairs else 1
        reference_tokens = sides * forget.tokens if method.needs_original else 0
        draws = [StepDraw("forget", records, records * sides * forget.mean, reference_tokens)]
        retain = method.retain_spec()
        if retain.term != "none":
            draws.append(self._retain_draw("retain", retain, records, self._set("retain")))
        unseen_spec = method.unseen_spec()
        if unseen_spec is not None:
            draws.append(self._retain_draw("unseen", unseen_spec, records, unseen))
        elif method.needs_unseen and method.needs_original:
            draws.append(StepDraw("unseen", 0, 0.0, math.ceil(_HALF * unseen.tokens)))
        rehearsal = method.rehearsal_spec()
        if rehearsal is not None:
            length = min(REHEARSAL_MAX_TOKENS, math.ceil(_SPREAD * forget.mean))
            texts = min(rehearsal.texts, math.ceil(rehearsal.ratio * forget.records * self.training.epochs))
            count = max(1, round(rehearsal.ratio * records))
            draws.append(StepDraw("rehearsal", count, float(count * length), texts * length))
        return draws

    @property
    def reference_tokens(self) -> int:
        """Tokens on which the reference model's last hidden states are kept."""
        return sum(draw.reference_tokens for draw in self.draws())

    @property
    def update_tokens(self) -> int:
        """Tokens of the largest update."""
        return math.ceil(_SPREAD * sum(draw.tokens for draw in self.draws()))

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

    def _retain_draw(self, name: str, spec: RetainSpec, records: int, size: SetSize) -> StepDraw:
        count = max(1, round(spec.ratio * records))
        reference_tokens = 0 if spec.term in ("none", "descent") else math.ceil(_HALF * size.tokens)
        return StepDraw(name, count, count * size.mean, reference_tokens)

    def _set(self, name: str) -> SetSize:
        return self.sets.get(name, SetSize(0, 0))

    def _longest_record(self, size: SetSize) -> int:
        return min(self.chunk_length, math.ceil(_LONGEST * size.mean))
