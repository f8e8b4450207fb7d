"""A job that only measures, as preflight sees it: a dry run among them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from core.evaluation.measurement import Measurement
from core.preflight.workload import PhaseName, StepDraw, Workload


@dataclass(frozen=True)
class MeasureWorkload(Workload):
    """A job that measures the model as it came, and changes nothing."""

    @property
    def phases(self) -> Sequence[PhaseName]:
        """Loading and measuring."""
        return ("loading", "measuring")

    @property
    def measured_models(self) -> int:
        """One: the model as it came."""
        return 1

    @property
    def stored_bytes(self) -> int:
        """Zero: the job makes no checkpoint."""
        return 0

    @property
    def trained_patterns(self) -> Sequence[str] | Literal["all"]:
        """No patterns."""
        return ()

    @property
    def trained_parameters(self) -> int:
        """Zero: the job has no optimiser."""
        return 0

    @property
    def memory_settings(self) -> frozenset[str]:
        """The dtype of the held weights: no other setting has an effect on measuring."""
        return frozenset({"master_weights"})

    @property
    def gradient_measurements(self) -> Sequence[Measurement]:
        """All measurements: no training takes more memory."""
        return self.measurements

    @property
    def copies_trained_weights(self) -> bool:
        """False: no weight is trained."""
        return False

    @property
    def needs_untrained_model(self) -> bool:
        """False: nothing is prepared."""
        return False

    @property
    def extra_slices(self) -> int:
        """0: the job makes no updates."""
        return 0

    def draws(self) -> list[StepDraw]:
        """Returns an empty list: the job makes no updates."""
        return []
