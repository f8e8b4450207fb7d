"""What the child says while it works: one JSON line each, on a descriptor of its own. No record's text, ever.

The supervisor stores them; `progress` and `curve` in batches, the others at once. `Event` is what `/events` shows.
"""

from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter, WithJsonSchema

from core.schema.cost import JobCost
from core.schema.evaluation import Measurements, Moment
from core.schema.event_types import EventType, describe_data, describe_types
from core.schema.jobs import JobError, Outcome, Phase
from core.schema.policies import Judgement
from core.schema.strict import Answer, Strict


class Heartbeat(Strict):
    """A sign of life between two other events: how much of the whole job is done, and how long the rest may take."""

    kind: Literal["beat"] = "beat"
    fraction: float | None = Field(default=None, ge=0, le=1)
    eta_seconds: float | None = None


class PhaseStarted(Strict):
    kind: Literal["phase"] = "phase"
    phase: Phase


class ProgressMade(Strict):
    kind: Literal["progress"] = "progress"
    step: int
    steps: int
    eta_seconds: float | None = None


class CurvePoint(Strict):
    """Values of one step, such as `loss`, `forget_loss`, `retain_loss`, `learning_rate`, `tokens_per_second`."""

    kind: Literal["curve"] = "curve"
    step: int
    values: dict[str, float]


class Warned(Strict):
    """Something a person should know; the job goes on."""

    kind: Literal["warning"] = "warning"
    code: str
    message: str


class Measured(Strict):
    kind: Literal["measured"] = "measured"
    moment: Moment
    measurements: Measurements


class Judged(Strict):
    """How the measured model kept the job's policy."""

    kind: Literal["judged"] = "judged"
    judgement: Judgement


class Saved(Strict):
    """The checkpoint is complete in `directory` (the spec's `output`)."""

    kind: Literal["saved"] = "saved"
    directory: Path
    step: int


class CostReported(JobCost):
    """What the job took."""

    kind: Literal["cost"] = "cost"


class Done(Strict):
    """The last line of a child that did its work; without it, the work was not done."""

    kind: Literal["done"] = "done"
    outcome: Outcome | None


class Cancelled(Strict):
    """The last line of a child that was told to stop."""

    kind: Literal["cancelled"] = "cancelled"


class Snapshotted(Strict):
    """A snapshot of this step is complete on this machine's disk."""

    kind: Literal["snapshot"] = "snapshot"
    step: int


class Resumed(Strict):
    """Training goes on from a snapshot, after this many updates."""

    kind: Literal["resumed"] = "resumed"
    step: int


class Paused(Strict):
    """The last line of a child that was told to pause: a snapshot of this step is complete (0: there was no step)."""

    kind: Literal["paused"] = "paused"
    step: int


class Failed(Strict):
    """The last line of a child that could not do its work and knows why."""

    kind: Literal["failed"] = "failed"
    error: JobError


ChildEvent = Annotated[
    Heartbeat
    | PhaseStarted
    | ProgressMade
    | CurvePoint
    | Warned
    | Measured
    | Judged
    | Snapshotted
    | Resumed
    | Saved
    | CostReported
    | Done
    | Cancelled
    | Paused
    | Failed,
    Field(discriminator="kind"),
]
CHILD_EVENT: TypeAdapter[ChildEvent] = TypeAdapter(ChildEvent)


class Command(Strict):
    """What the child is told on standard input after the spec, one JSON line each; end of file means: end yourself."""

    command: Literal["cancel", "pause"]


class Event(Answer):
    """One event of a job, as the API shows it. `seq` rises by one per job and never skips."""

    object: Literal["event"] = Field(default="event", description="always `event`")
    seq: int = Field(description="its number in the job, from 1")
    type: Annotated[str, WithJsonSchema({"type": "string", "enum": list(EventType)})] = Field(
        description=f"what happened:\n\n{describe_types()}"
    )
    """A plain string to Python: while workers and API are upgraded, one may write types that the other lacks."""
    data: dict[str, Any] = Field(description=f"more about it, by type; never a record's text:\n\n{describe_data()}")
    created_at: datetime = Field(description="when it happened")
