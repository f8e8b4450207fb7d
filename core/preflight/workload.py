"""A job as preflight sees it: a shape, a method, a recipe, and sets of so many records and tokens."""

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
"""Where the model's tokenizer was not tried."""
_HALF = 0.6
"""The half of a set that trains, with room for its longer records."""
_SPREAD = 1.25
"""How much longer than the mean the records of one update may be."""
_LONGEST = 4
"""How much longer than the mean one record may be."""
_TWINS: int = Exposure.model_fields["twins"].default + 1
"""A record among its twins, which go through the model together."""


@dataclass(frozen=True)
class SetSize:
    """A set of records: how many, and about how many tokens in all."""

    records: int
    tokens: int

    @classmethod
    def from_file(cls, *, records: int, size: int, shape: ModelShape) -> "SetSize":
        """From a file's bytes, of which what is not text (JSON's own signs) makes up for finer tokens elsewhere."""
        return cls(records, max(2 * records, math.ceil(size / (shape.bytes_per_token or _BYTES_PER_TOKEN))))

    @classmethod
    def from_files(cls, files: Iterable[tuple[str, int, int]], shape: ModelShape) -> "dict[str, SetSize]":
        """By set, the files `(set, records, bytes)` that it is made of, taken together."""
        found: dict[str, SetSize] = {}
        for name, records, size in files:
            text, before = cls.from_file(records=records, size=size, shape=shape), found.get(name, cls(0, 0))
            found[name] = cls(before.records + text.records, before.tokens + text.tokens)
        return found

    @property
    def mean(self) -> float:
        return self.tokens / max(self.records, 1)


@dataclass(frozen=True)
class StepDraw:
    """What an update takes of one set, and whether the original's last hidden states on the set are kept."""

    name: str
    records: int
    tokens: float
    reference_tokens: int


@dataclass(frozen=True)
class Workload:
    """Everything that an estimate depends on. `method` None: the job only measures, and changes nothing. `dtype`: what
    checkpoints are written in (`auto`: as the model is). `bfloat16`: whether the processor multiplies it itself, as far
    as that is known. `measurements`: what is made of the model, before and after it is changed."""

    shape: ModelShape
    method: Method | None
    training: Training
    sets: Mapping[str, SetSize] = field(default_factory=dict)
    gpus: int = 0
    dtype: str = "auto"
    bfloat16: bool | None = None
    measurements: Sequence[Measurement] = ()

    @property
    def length(self) -> int:
        """Tokens of the longest chunk."""
        return self.shape.within_context(self.training.max_length)

    @property
    def stored_bytes(self) -> int:
        """The size of a checkpoint."""
        if self.method is None:
            return 0
        return self.shape.bytes if self.dtype == "auto" else self.shape.parameters * DTYPE_BYTES[self.dtype]

    @property
    def steps(self) -> int:
        forget = self._set("forget").records
        return self.training.epochs * max(1, math.ceil(forget / self.training.records_per_step))

    @property
    def tokens(self) -> int:
        """Put through the model by all updates."""
        if self.method is None:
            return 0
        return math.ceil(self.steps * sum(one.tokens for one in self.drawn()))

    def drawn(self) -> list[StepDraw]:
        """What one update is made of; nothing where the job only measures."""
        if self.method is None:
            return []
        method, forget, unseen = self.method, self._set("forget"), self._set("unseen")
        records = max(1, min(self.training.records_per_step, forget.records))
        sides = 2 if method.pairs else 1
        kept = sides * forget.tokens if method.needs_original else 0
        found = [StepDraw("forget", records, records * sides * forget.mean, kept)]
        retain = method.retain_spec()
        if retain.term != "none":
            found.append(self._held("retain", retain, records, self._set("retain")))
        also = method.unseen_spec()
        if also is not None:
            found.append(self._held("unseen", also, records, unseen))
        elif method.needs_unseen and method.needs_original:
            found.append(StepDraw("unseen", 0, 0.0, math.ceil(_HALF * unseen.tokens)))
        rehearsal = method.rehearsal_spec()
        if rehearsal is not None:
            length = min(REHEARSAL_MAX_TOKENS, math.ceil(_SPREAD * forget.mean))
            texts = min(rehearsal.texts, math.ceil(rehearsal.ratio * forget.records * self.training.epochs))
            drawn = max(1, round(rehearsal.ratio * records))
            found.append(StepDraw("rehearsal", drawn, float(drawn * length), texts * length))
        return found

    @property
    def reference_tokens(self) -> int:
        """Tokens on which the original's last hidden states are kept."""
        return sum(one.reference_tokens for one in self.drawn())

    @property
    def update(self) -> int:
        """Tokens of the largest update."""
        return math.ceil(_SPREAD * sum(one.tokens for one in self.drawn()))

    @property
    def micro_batch(self) -> int:
        """Tokens in the largest forward of an update."""
        longest = max(self._longest(one) for one in self.sets.values()) if self.sets else self.length
        return max(min(self.training.micro_batch_tokens, self.update), longest)

    @property
    def measured(self) -> int:
        """Tokens in the largest forward of measuring."""
        longest = max((one.mean for one in self.sets.values()), default=0.0)
        most = max(max((one.tokens for one in self.sets.values()), default=self.length), math.ceil(_TWINS * longest))
        length = eval_settings(self.training, context=self.shape.context).max_length
        return max(min(self.training.micro_batch_tokens, most), min(length, most))

    def _held(self, name: str, hold: RetainSpec, records: int, text: SetSize) -> StepDraw:
        drawn = max(1, round(hold.ratio * records))
        kept = 0 if hold.term in ("none", "descent") else math.ceil(_HALF * text.tokens)
        return StepDraw(name, drawn, drawn * text.mean, kept)

    def _set(self, name: str) -> SetSize:
        return self.sets.get(name, SetSize(0, 0))

    def _longest(self, text: SetSize) -> int:
        return min(self.length, math.ceil(_LONGEST * text.mean))
