"""A job that unlearns by a method, as preflight sees it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from core.evaluation.measurement import Measurement
from core.preflight.parameter_counts import adapter_parameters, matching_parameters
from core.preflight.workload import DTYPE_BYTES, PhaseName, SetSize, StepDraw, Workload
from core.schema.made_sets import retain_records, unseen_copies
from core.unlearning.method import (
    REHEARSAL_MAX_TOKENS,
    Method,
    RehearsalSpec,
    RetainSpec,
    SplicedSpec,
    rehearsal_length,
)

_HALF = 0.6
"""Share of a set's tokens in the half that trains, with room for longer records."""
_SETTINGS = frozenset({"checkpointing", "optimizer", "master_weights", "conflicting_gradients", "lora", "gpus"})


MADE_UNSEEN = "unseen to calibrate"
"""The name of the made unseen set, which nothing measures."""


def made_sizes(forget: SetSize, missing_sets: Sequence[str]) -> dict[str, SetSize]:
    """Returns the sizes of the sets that a job makes itself, of records about as long as those to forget."""
    records = {
        "retain": retain_records(forget.records),
        "unseen": math.ceil(forget.records * unseen_copies(forget.records) / _HALF),  # none of them only measures
    }
    names = {"retain": "retain", "unseen": MADE_UNSEEN}
    return {names[name]: SetSize(records[name], math.ceil(records[name] * forget.mean)) for name in missing_sets}


@dataclass(frozen=True)
class UnlearnWorkload(Workload):
    """A job that trains the model by a method, and measures it before and after."""

    method: Method = field(kw_only=True)

    @property
    def phases(self) -> Sequence[PhaseName]:
        """Phases from loading the model to measuring the changed one."""
        return ("loading", "measuring", "preparing", "unlearning", "updating", "saving", "measuring again")

    @property
    def measured_models(self) -> int:
        """Two: the model before training, and after it."""
        return 2

    @property
    def stored_bytes(self) -> int:
        """Bytes of the checkpoint."""
        return self.shape.bytes if self.dtype == "auto" else self.shape.parameters * DTYPE_BYTES[self.dtype]

    @property
    def trained_patterns(self) -> Sequence[str] | Literal["all"]:
        """Patterns that the method selects, else those of the training."""
        selected = self.method.trained_weights(self.shape.layers)
        return self.training.trainable if selected is None else selected

    @property
    def trained_parameters(self) -> int:
        """Weights that the optimiser holds: all, those that patterns select, or the adapters'."""
        if self.training.lora is not None and self.method.trained_weights(self.shape.layers) is None:
            return adapter_parameters(self.shape, self.training.lora)
        return matching_parameters(self.shape, self.trained_patterns)

    @property
    def memory_settings(self) -> frozenset[str]:
        """Settings of the training, and the GPUs that share it."""
        return _SETTINGS

    @property
    def gradient_measurements(self) -> Sequence[Measurement]:
        """None: training takes more memory."""
        return ()

    @property
    def copies_trained_weights(self) -> bool:
        """Whether the method has a final weight and changes the weights themselves."""
        return type(self.method).final_weight is not Method.final_weight and self.training.lora is None

    @property
    def needs_untrained_model(self) -> bool:
        """Whether the method's reference is a model of random weights."""
        return getattr(self.method, "reference", None) == "random_model"

    @property
    def extra_slices(self) -> int:
        """Those of the method."""
        return self.method.extra_slices

    def draws(self) -> list[StepDraw]:
        """Returns what one update takes from each set."""
        method, forget = self.method, self.set_size("forget")
        unseen = self.set_size(MADE_UNSEEN if MADE_UNSEEN in self.sets else "unseen")
        records = max(1, min(self.training.records_per_step, forget.records))
        sides = 2 if method.pairs else 1
        reference_tokens = sides * forget.tokens if method.needs_original else 0
        draws = [StepDraw("forget", records, records * sides * forget.mean, reference_tokens)]
        retain = method.retain_spec()
        if retain.term != "none":
            draws.append(self._retain_draw("retain", retain, records, self.set_size("retain")))
        unseen_spec = method.unseen_spec()
        if unseen_spec is not None:
            draws.append(self._retain_draw("unseen", unseen_spec, records, unseen))
        elif method.needs_unseen and method.needs_original:
            draws.append(StepDraw("unseen", 0, 0.0, math.ceil(_HALF * unseen.tokens)))
        rehearsal = method.rehearsal_spec()
        if rehearsal is not None:
            # a sample may be as long as the longest forget records, but most end where the model ends a text
            length = rehearsal_length(math.ceil(forget.mean))
            draws.append(self._made_draw("rehearsal", rehearsal, records, length))
        spliced = method.spliced_spec()
        if spliced is not None:
            length = min(max(math.ceil(unseen.mean), rehearsal_length(math.ceil(forget.mean))), REHEARSAL_MAX_TOKENS)
            draws.append(self._made_draw("spliced", spliced, records, length))
        if self.training.relearning_defence in ("attacker", "both"):
            # half of an update's forget records are relearned, and half as many are forgotten there
            draws.append(StepDraw("attack", records, records * forget.mean, 0))
        return draws

    def _made_draw(self, name: str, spec: RehearsalSpec | SplicedSpec, records: int, length: int) -> StepDraw:
        """What one update takes from a set of texts of this length that the job makes."""
        count = max(1, round(spec.ratio * records))
        texts = min(spec.texts, math.ceil(spec.ratio * self.set_size("forget").records * self.training.epochs))
        return StepDraw(name, count, float(count * length), texts * length)

    def _retain_draw(self, name: str, spec: RetainSpec, records: int, size: SetSize) -> StepDraw:
        count = max(1, round(spec.ratio * records))
        reference_tokens = 0 if spec.term in ("none", "descent") else math.ceil(_HALF * size.tokens)
        return StepDraw(name, count, count * size.mean, reference_tokens)
