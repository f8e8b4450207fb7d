"""The catalogue of a job's public events: each type's level, meaning and data. Nothing writes another type.

The writers, the API's document, docs/events.md and the console take the types from here.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Literal

from core.schema.cost import JobCost
from core.schema.environment import Environment

Level = Literal["info", "warning", "error"]

PROGRESS_MESSAGE = "progress"
"""Name of the live stream's messages between events. They are not events: they are not kept and have no number."""


class EventType(StrEnum):
    """A type of event, by its name on the wire."""

    CREATED = "created"
    STARTED = "started"
    ENVIRONMENT = "environment"
    PHASE = "phase"
    MEASURED = "measured"
    WARNING = "warning"
    SNAPSHOT = "snapshot"
    RESUMED = "resumed"
    TUNED = "tuned"
    TRAINED = "trained"
    SAVED = "saved"
    COST = "cost"
    PAUSE_REQUESTED = "pause_requested"
    PAUSE_WITHDRAWN = "pause_withdrawn"
    CANCEL_REQUESTED = "cancel_requested"
    PAUSED = "paused"
    REQUEUED = "requeued"
    EXTENDED = "extended"
    JUDGED = "judged"
    RELEASED = "released"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(frozen=True)
class EventDescription:
    """The level, the meaning, and the meaning of each field of the data."""

    meaning: str
    data: Mapping[str, str]
    level: Level = "info"


_REASON = (
    "The reason: `asked` (someone asked for it), `resumed`, `retried`, `shutdown` (the worker's), `terminated` (the"
    " host ended the process), `lease_expired` (the worker was lost), `shared_run_changed` (a job left the run that"
    " this job shared), `shared_run_failed` (the run that it shared failed; each of its jobs runs by itself next), or"
    " the code of an error that another attempt may avoid."
)

EVENTS: Mapping[EventType, EventDescription] = MappingProxyType(
    {
        EventType.CREATED: EventDescription(
            "The service has accepted the job and put it into the queue.",
            {"model": "The id of the registered model.", "method": "The method's name."},
        ),
        EventType.STARTED: EventDescription(
            "A worker has taken up the job.", {"attempt": "The number of the attempt, from 1."}
        ),
        EventType.ENVIRONMENT: EventDescription(
            "The job's process has started. The data says on which code, libraries and machine.",
            {name: field.description or "" for name, field in Environment.model_fields.items()},
        ),
        EventType.PHASE: EventDescription("The job has begun a phase.", {"phase": "The phase's name."}),
        EventType.MEASURED: EventDescription(
            "A model is measured. All figures are in `GET /v1/jobs/{id}/metrics`.",
            {
                "moment": "Which model: `before` (the job started from it), `after` (the job saved it) or `retrained`"
                " (the job names it).",
                "perplexity": "The perplexity of each set that has one.",
            },
        ),
        EventType.WARNING: EventDescription(
            "A person should know something. The job goes on.",
            {"code": "The warning's name, for programs.", "message": "The warning in words."},
            level="warning",
        ),
        EventType.SNAPSHOT: EventDescription(
            "The worker has stored the state of the training. An interrupted job goes on from there.",
            {"step": "The number of updates made so far."},
        ),
        EventType.RESUMED: EventDescription(
            "The training goes on from a snapshot of an earlier attempt.",
            {"step": "The number of updates in the snapshot."},
        ),
        EventType.TUNED: EventDescription(
            "A short range test has found the learning rate (`training.tune` is `auto`).",
            {
                "learning_rate": "The learning rate of the training.",
                "trials": "The number of trial updates, which were taken back.",
                "moved": "How much of the way from the forget set's loss to the unseen text's the trials went; 1: all.",
            },
        ),
        EventType.TRAINED: EventDescription(
            "A training with `tune` `auto` has ended, and the best state of the model is delivered. Readings are by"
            " records that calibrate, in multiples of what is tolerated: at most 1 is the goal.",
            {
                "step": "The number of updates made.",
                "steps": "The number of updates that the training had at most.",
                "reason": "Why it ended: `converged` (the goal is reached), `no_progress` (the state became no better),"
                " `diverged` (a loss was no finite number) or `budget` (all updates are made).",
                "best_step": "The number of updates in the delivered state.",
                "forget": "How far the forget set is from unseen text, by the statistic that tells them apart best.",
                "retain": "How much less likely retain text became that no term trains on.",
                "unseen": "How far the loss on unseen text moved.",
            },
        ),
        EventType.SAVED: EventDescription(
            "The worker has written the checkpoint. It is measured next.",
            {"step": "The number of updates made in all."},
        ),
        EventType.COST: EventDescription(
            "The job has finished its work. The data says what the attempt took.",
            {name: field.description or "" for name, field in JobCost.model_fields.items()},
        ),
        EventType.PAUSE_REQUESTED: EventDescription(
            "Someone has asked for a pause. The worker stores the training's state and stops.", {}
        ),
        EventType.PAUSE_WITHDRAWN: EventDescription("The request for a pause was withdrawn before it took effect.", {}),
        EventType.CANCEL_REQUESTED: EventDescription("Someone has asked to cancel the job. The worker stops it.", {}),
        EventType.PAUSED: EventDescription("The job is paused. It waits until it is resumed.", {"reason": _REASON}),
        EventType.REQUEUED: EventDescription(
            "The job is back in the queue: after a pause, a retry, or an attempt that ended early.",
            {"reason": _REASON},
        ),
        EventType.EXTENDED: EventDescription(
            "Someone has extended the job's deadline. The job's `extensions` tell who and why.",
            {"previous_due": "The deadline until then.", "due": "The deadline from then on."},
        ),
        EventType.JUDGED: EventDescription(
            "The measured checkpoint was compared with the job's policy.",
            {
                "verdict": "`passed`, `failed` or `not_judged`.",
                "parts": "The verdict on each part: `extraction` (can the text still be got out?) and `membership` (can"
                " it be told that the model has seen the text?).",
                "scope": "What the verdict covers: `verbatim` (the text itself) or `facts` (questions about it too).",
                "reason": "Why the verdict is `not_judged`, else null.",
                "policy": "The policy's name.",
            },
        ),
        EventType.RELEASED: EventDescription(
            "The checkpoint may be downloaded: by its verdict, by the model's rule, or by a person's decision.",
            {
                "checkpoint": "The checkpoint's id.",
                "head": "Whether later jobs on the model start from this checkpoint.",
            },
        ),
        EventType.SUCCEEDED: EventDescription(
            "The job has ended, and its work is done. A checkpoint may still wait for its release.",
            {
                "checkpoint": "The checkpoint's id, if the job made one.",
                "digest": "The checkpoint's digest, if the job made one.",
                "verdict": "The verdict on the checkpoint: `passed`, `failed` or `not_judged`.",
                "released": "Whether the checkpoint may be downloaded.",
                "outcome": "Of a job without a checkpoint: `preview` or `nothing_to_forget`. Null of a measurement.",
            },
        ),
        EventType.FAILED: EventDescription(
            "The job has ended without a result. It can be retried.",
            {"error": "The error: `code`, `message`, `blame` and `retryable`, as in the job's `error`."},
            level="error",
        ),
        EventType.CANCELLED: EventDescription(
            "The job has ended because someone cancelled it, possibly after it had failed.",
            {"reason": _REASON},
        ),
    }
)


class UndocumentedEvent(ValueError):
    """An event whose type or data the catalogue does not describe."""


def check_event(type: EventType, data: Mapping[str, Any]) -> None:
    """Refuses an event whose type or data the catalogue does not describe. UndocumentedEvent."""
    if type not in EVENTS:
        raise UndocumentedEvent(f"core/schema/event_types.py has no event '{type}'")
    if unknown := sorted(data.keys() - EVENTS[type].data.keys()):
        raise UndocumentedEvent(f"core/schema/event_types.py does not describe {', '.join(unknown)} of '{type}'")


def describe_types() -> str:
    """Returns the types with their meanings, as a list in Markdown."""
    return "\n".join(f"- `{type}`: {description.meaning}" for type, description in EVENTS.items())


def describe_data() -> str:
    """Returns the data of each type that has some, as a list in Markdown."""
    return "\n".join(
        "\n".join([f"- `{type}`", *(f"  - `{name}`: {meaning}" for name, meaning in description.data.items())])
        for type, description in EVENTS.items()
        if description.data
    )
