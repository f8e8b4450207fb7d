"""How far a job is, all of its phases counted, and how long the rest may take."""

import time

from core.lm.flops import METER
from core.schema.events import Heartbeat
from core.schema.job_spec import ExpectedTokens
from core.schema.jobs import JobKind, Phase

LOADING, SAVING = 0.02, 0.02
"""Shares of a job that are taken to go by while a model is loaded and while it is saved."""
BACKWARD = 3
"""How many times as much a token of an update costs as one that is measured."""
LEAST = 0.01
"""What must have gone by before the rest is reckoned from it."""


class JobProgress:
    """The share of a job that is done: each phase has a span, by the tokens that are expected to go through the model.

    Within its span measuring advances by tokens and training by updates. A span is never left before its phase is over,
    so that a wrong expectation shows in how fast the share rises, and not in a share that falls.
    """

    def __init__(self, kind: JobKind, expected: ExpectedTokens | None, *, began: float, compared: int = 0) -> None:
        """`began` is the monotonic time at which the job did; without `expected` phases count by themselves alone.

        `compared` is how many models to compare with are measured before, beside the job's own.
        """
        expected = expected or ExpectedTokens(measured=2, updates=1)
        self._began = began
        self._began_at: dict[Phase, int] = {}
        self._updates = 0.0
        once = expected.measured / (2 if kind == "unlearn" else 1)
        """Tokens of each time that a model is measured."""
        training = BACKWARD * expected.updates if kind == "unlearn" else 0.0
        saving = SAVING if kind == "unlearn" else 0.0
        models_before, models_after = compared + (kind != "measure"), int(kind != "preview")
        self._tokens: dict[Phase, float] = {
            "measuring_before": max(1.0, models_before * once),
            "measuring_after": max(1.0, models_after * once),
            "attacking": max(1.0, models_after * once),
        }
        whole = max(1.0, (models_before + models_after) * once)
        each = (1.0 - LOADING - saving) / (whole + training)
        measuring, updates = each * whole * models_before / (models_before + models_after), each * training
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

    def turn_to(self, phase: Phase) -> None:
        """A phase begins, or goes on where it has got to; attacking where measuring after has."""
        self._phase = phase
        of = "measuring_after" if phase == "attacking" else phase
        self._began_at[phase] = self._began_at.setdefault(of, METER.reading.tokens)

    def trained(self, step: int, steps: int) -> None:
        """So many of the updates are made."""
        self._updates = step / max(1, steps)

    def beat(self) -> Heartbeat:
        """Returns the share that is done, which never falls and is below 1, with the seconds that the rest may take."""
        first, last = self._spans[self._phase]
        within = 0.0
        if self._phase == "unlearning":
            within = self._updates
        elif self._phase in self._tokens:
            within = (METER.reading.tokens - self._began_at[self._phase]) / self._tokens[self._phase]
        self._done = max(self._done, min(0.999, first + min(1.0, within) * (last - first)))
        passed = time.monotonic() - self._began
        eta = passed * (1.0 - self._done) / self._done if self._done >= LEAST else None
        return Heartbeat(fraction=self._done, eta_seconds=eta)
