"""Events of a job: those that the child process reports, and `Event`, which the API shows.

The child writes one JSON line each on a descriptor of its own, never a record's text. The supervisor stores the lines:
`progress` and `curve` in batches, all others at once.
"""

from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter, WithJsonSchema

from core.schema.cost import JobCost
from core.schema.environment import Environment
from core.schema.evaluation import Measurements, Moment
from core.schema.event_types import EventType, describe_data, describe_types
from core.schema.jobs import JobError, Outcome, Phase, SetUsed
from core.schema.policies import Judgement
from core.schema.previously_forgotten import KeptFigures
from core.schema.strict import Answer, Strict


class Heartbeat(Strict):
    """A sign of life between two other events: the share of the whole job that is done, and the time that is left."""

    kind: Literal["beat"] = "beat"
    fraction: float | None = Field(default=None, ge=0, le=1)
    eta_seconds: float | None = None


class PhaseStarted(Strict):
    """A phase has begun."""

    kind: Literal["phase"] = "phase"
    phase: Phase


class ProgressMade(Strict):
    """An update of the training is made."""

    kind: Literal["progress"] = "progress"
    step: int
    steps: int
    eta_seconds: float | None = None


class CurvePoint(Strict):
    """The values of one step, such as `loss`, `forget_loss`, `retain_loss`, `learning_rate`, `tokens_per_second`."""

    kind: Literal["curve"] = "curve"
    step: int
    values: dict[str, float]


class Warned(Strict):
    """A person should know something; the job goes on."""

    kind: Literal["warning"] = "warning"
    job: str | None = None
    """The job that it concerns, of those that share the run; None: all of them."""
    code: str
    message: str


class SetsMade(Strict):
    """The job has made sets that neither the request nor the model has."""

    kind: Literal["sets_made"] = "sets_made"
    sets: list[SetUsed]


class Measured(Strict):
    """A model is measured."""

    kind: Literal["measured"] = "measured"
    job: str | None = None
    """The job whose forget set was measured, of those that share the run; None: the run's only job."""
    moment: Moment
    measurements: Measurements
    kept: KeptFigures | None = None
    """Figures of single records of the forget set, which later jobs compare theirs with."""


class Judged(Strict):
    """The measured model was judged by the job's policy."""

    kind: Literal["judged"] = "judged"
    job: str | None = None
    """The job whose policy it is, of those that share the run; None: the run's only job."""
    judgement: Judgement


class Saved(Strict):
    """The checkpoint is complete in `directory` (the spec's `output`)."""

    kind: Literal["saved"] = "saved"
    directory: Path
    step: int


class CostReported(JobCost):
    """The cost of the attempt, just before its end."""

    kind: Literal["cost"] = "cost"


class EnvironmentReported(Environment):
    """The code, the libraries and the machine of the attempt, before it loads anything."""

    kind: Literal["environment"] = "environment"


class Done(Strict):
    """The last line of a child that has done its work. Without this line the work is not done."""

    kind: Literal["done"] = "done"
    outcome: Outcome | None


class Cancelled(Strict):
    """The last line of a child that was told to stop."""

    kind: Literal["cancelled"] = "cancelled"


class Snapshotted(Strict):
    """A snapshot of this step is complete on the worker's disk."""

    kind: Literal["snapshot"] = "snapshot"
    step: int


class Resumed(Strict):
    """The training goes on from a snapshot of this step."""

    kind: Literal["resumed"] = "resumed"
    step: int


class Tuned(Strict):
    """The range test has found the learning rate."""

    kind: Literal["tuned"] = "tuned"
    learning_rate: float
    trials: int
    moved: float


StopReason = Literal["converged", "no_progress", "diverged", "budget"]


class Trained(Strict):
    """A tuned training has ended. `forget`, `retain` and `unseen` are the readings of the delivered state."""

    kind: Literal["trained"] = "trained"
    step: int
    steps: int
    reason: StopReason
    best_step: int
    forget: float
    retain: float
    unseen: float


class Paused(Strict):
    """The last line of a child that was told to pause. A snapshot of this step is complete (0: no step was made)."""

    kind: Literal["paused"] = "paused"
    step: int


class Failed(Strict):
    """The last line of a child that could not do its work and knows the reason."""

    kind: Literal["failed"] = "failed"
    error: JobError


ChildEvent = Annotated[
    Heartbeat
    | PhaseStarted
    | ProgressMade
    | CurvePoint
    | Warned
    | SetsMade
    | Measured
    | Judged
    | Snapshotted
    | Resumed
    | Tuned
    | Trained
    | Saved
    | CostReported
    | EnvironmentReported
    | Done
    | Cancelled
    | Paused
    | Failed,
    Field(discriminator="kind"),
]
CHILD_EVENT: TypeAdapter[ChildEvent] = TypeAdapter(ChildEvent)


class Command(Strict):
    """A command to the child, a JSON line on its standard input after the spec. The child exits at end of file."""

    command: Literal["cancel", "pause"]


class Event(Answer):
    """An event of a job, as the API shows it. `seq` rises by one in each job and never skips a number."""

    object: Literal["event"] = Field(default="event", description="Always `event`.")
    seq: int = Field(description="The event's number in the job, from 1.")
    type: Annotated[str, WithJsonSchema({"type": "string", "enum": list(EventType)})] = Field(
        description=f"What happened:\n\n{describe_types()}"
    )
    """A plain string to Python: while workers and API are upgraded, one may write types that the other lacks."""
    data: dict[str, Any] = Field(
        description=f"The event's data, by type. It never holds a record's text.\n\n{describe_data()}"
    )
    created_at: datetime = Field(description="When it happened.")
