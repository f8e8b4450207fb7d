"""The progress of a whole job, over all of its phases, and an estimate of the remaining time."""

import time

from core.lm.flops import METER
from core.preflight.flops import BACKWARD
from core.schema.events import Heartbeat
from core.schema.job_spec import ExpectedTokens
from core.schema.jobs import JobKind, Phase

LOADING, SAVING = 0.02, 0.02
"""Assumed shares of a job that loading and saving a model take."""
LEAST = 0.01
"""The least progress from which the remaining time is estimated."""


class JobProgress:
    """The finished share of a job. Each phase has a span of it, by the tokens expected to go through the model.

    Within its span, measuring advances by tokens and training by updates. The share stays within the span until the
    phase is over: a wrong expectation changes how fast the share rises, but never makes it fall.
    """

    def __init__(self, kind: JobKind, expected: ExpectedTokens | None, *, began: float, compared: int = 0) -> None:
        """`began` is the monotonic time at which the job began. Without `expected`, phases have assumed sizes.

        `compared` is the number of other models that are measured for comparison, before the job's own.
        """
        expected = expected or ExpectedTokens(measured=2, updates=1)
        self._began = began
        self._began_at: dict[Phase, int] = {}  # tokens through the model when a phase began
        self._updates = 0.0  # the share of updates made
        per_model = expected.measured / (2 if kind == "unlearn" else 1)  # tokens
        training = BACKWARD * expected.updates if kind == "unlearn" else 0.0
        saving = SAVING if kind == "unlearn" else 0.0
        models_before, models_after = compared + (kind != "measure"), int(kind != "preview")
        self._tokens: dict[Phase, float] = {
            "measuring_before": max(1.0, models_before * per_model),
            "measuring_after": max(1.0, models_after * per_model),
            "attacking": max(1.0, models_after * per_model),
        }
        measured = max(1.0, (models_before + models_after) * per_model)
        per_token = (1.0 - LOADING - saving) / (measured + training)
        measuring = per_token * measured * models_before / (models_before + models_after)
        updates = per_token * training
        after = LOADING + measuring + updates + saving
        self._spans: dict[Phase, tuple[float, float]] = {
            "loading": (0.0, LOADING),
            "measuring_before": (LOADING, LOADING + measuring),
            "unlearning": (LOADING + measuring, LOADING + measuring + updates),
            "saving": (LOADING + measuring + updates, after),
            "measuring_after": (after, 1.0),
            "attacking": (after, 1.0),
        }
        self._phase: Phase = "loading"
        self._done = 0.0

    def start(self, phase: Phase) -> None:
        """Starts a phase, or continues it. Attacking continues the span of `measuring_after`."""
        self._phase = phase
        span_phase = "measuring_after" if phase == "attacking" else phase
        self._began_at[phase] = self._began_at.setdefault(span_phase, METER.reading.tokens)

    def set_step(self, step: int, steps: int) -> None:
        """Takes note that `step` of `steps` updates are made."""
        self._updates = step / max(1, steps)

    def heartbeat(self) -> Heartbeat:
        """Returns the finished share, which never falls and is below 1, and the estimated remaining seconds."""
        first, last = self._spans[self._phase]
        within = 0.0
        if self._phase == "unlearning":
            within = self._updates
        elif self._phase in self._tokens:
            within = (METER.reading.tokens - self._began_at[self._phase]) / self._tokens[self._phase]
        self._done = max(self._done, min(0.999, first + min(1.0, within) * (last - first)))
        elapsed = time.monotonic() - self._began
        eta = elapsed * (1.0 - self._done) / self._done if self._done >= LEAST else None
        return Heartbeat(fraction=self._done, eta_seconds=eta)
