"""Whether a job fits on the machines that the operator has, and the smallest changes with which it would."""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from core.preflight.memory import Memory, Phase, Place
from core.preflight.workload import Workload
from core.schema.preflight import WorkerClass
from core.schema.training import Lora

_CUDA_CONTEXT = 1 << 30
"""Memory of a GPU that PyTorch never gets: the driver's context and kernels."""
_FRAGMENTS = 0.05
"""Share of the other memory that PyTorch's allocator loses between blocks."""


@dataclass(frozen=True)
class Change:
    """A change of the request: the field by its JSON pointer, and its new value."""

    pointer: str
    value: Any


@dataclass(frozen=True)
class Shortage:
    """The phase and the place that lack memory, on the worker class that has most of it."""

    place: Place
    phase: Phase
    available: int
    worker_class: WorkerClass | None

    @property
    def needed(self) -> int:
        """Bytes that the phase needs there."""
        return self.phase.total(self.place)


@dataclass(frozen=True)
class Saving:
    """Changes, with the bytes that the job needs where memory was short: before and after the changes."""

    changes: tuple[Change, ...]
    before: int
    after: int


_WORTHWHILE = 0.2
"""The smallest share of memory that justifies a change of the request."""

_TRAINING: tuple[tuple[Change, ...], ...] = (
    (Change("/training/checkpointing", True),),
    (Change("/training/optimizer", "adamw8bit"),),
    (Change("/training/checkpointing", True), Change("/training/optimizer", "adamw8bit")),
    (Change("/training/master_weights", "bfloat16"),),
    (Change("/training/master_weights", "bfloat16"), Change("/training/checkpointing", True)),
    (Change("/training/master_weights", "bfloat16"), Change("/training/optimizer", "adamw8bit")),
    (
        Change("/training/master_weights", "bfloat16"),
        Change("/training/optimizer", "adamw8bit"),
        Change("/training/checkpointing", True),
    ),
    (Change("/training/conflicting_gradients", "add"),),
    (Change("/training/lora", Lora()),),
    (Change("/training/lora", Lora()), Change("/training/checkpointing", True)),
    (
        Change("/training/lora", Lora()),
        Change("/training/master_weights", "bfloat16"),
        Change("/training/checkpointing", True),
    ),
)
"""From the smallest change to the largest: first those that keep every update, then coarser numbers, then gradients
that are not projected, last adapters."""


def find_shortage(workload: Workload, classes: Sequence[WorkerClass]) -> Shortage | None:
    """Returns where the job lacks memory. None: some class holds the job, or no class is declared that must hold it."""
    if not classes:
        return None
    eligible = [worker_class for worker_class in classes if _limits(worker_class, workload.gpus) is not None]
    if not eligible and workload.gpus == 0:
        return None  # machines with GPUs run jobs without GPUs too, and their memory for such jobs is not declared
    memory = Memory(workload)
    if not eligible:
        return Shortage("device", memory.peak("device"), 0, None)
    shortages = []
    for worker_class in eligible:
        shortage = _class_shortage(memory, worker_class, workload.gpus)
        if shortage is None:
            return None
        shortages.append(shortage)
    return max(shortages, key=lambda shortage: (shortage.available, shortage.place))


def fitting_changes(workload: Workload, classes: Sequence[WorkerClass], *, most: int = 3) -> list[tuple[Change, ...]]:
    """Returns up to `most` alternatives with which the job fits, the smallest first. Empty: no known change helps."""
    alternatives: list[tuple[Change, ...]] = []
    for changes in _candidates(workload, classes):
        includes_another = any(set(map(_field, smaller)) <= set(map(_field, changes)) for smaller in alternatives)
        if not includes_another and _fits(workload, changes, classes):
            alternatives.append(changes)
            if len(alternatives) == most:
                break
    return alternatives


def memory_savings(workload: Workload, during: Collection[str], classes: Sequence[WorkerClass] = ()) -> list[Saving]:
    """Returns changes that take less memory in these phases, smallest first, each a fifth less than the one before.

    It is for a job that ran out of memory although preflight let it pass. `classes` say how many GPUs it could share.
    """
    place: Place = "device" if workload.gpus else "host"
    before = least = _needed(workload, during, place)
    savings = []
    for changes in _candidates(workload, classes):
        needed = _needed(apply_changes(workload, changes), during, place)
        if needed <= (1 - _WORTHWHILE) * least:
            savings.append(Saving(changes, before, needed))
            least = needed
    return savings


def _needed(workload: Workload, during: Collection[str], place: Place) -> int:
    return max((phase.total(place) for phase in Memory(workload).phases if phase.name in during), default=0)


def apply_changes(workload: Workload, changes: Sequence[Change]) -> Workload:
    """Returns the job with the changes made."""
    for change in changes:
        name = _field(change)
        if name == "gpus":
            # several GPUs share neither a defence against relearning nor a projection
            without = {"relearning_defence": "none", "conflicting_gradients": "add"} if change.value > 1 else {}
            workload = replace(workload, gpus=change.value, training=workload.training.model_copy(update=without))
        else:
            workload = replace(workload, training=workload.training.model_copy(update={name: change.value}))
    return workload


def _candidates(workload: Workload, classes: Sequence[WorkerClass]) -> Iterator[tuple[Change, ...]]:
    training, usable = workload.training, _usable(workload)
    options = [changes for changes in _TRAINING if all(usable(change) for change in changes)]
    options = [
        changes for changes in options if any(getattr(training, _field(change)) != change.value for change in changes)
    ]
    most_gpus = max((worker_class.gpus for worker_class in classes), default=0)
    more_gpus = [Change("/resources/gpus", count) for count in range(workload.gpus + 1, most_gpus + 1)]
    more_gpus = [change for change in more_gpus if usable(change)]
    yield from (changes for changes in options if _field(changes[0]) in ("checkpointing", "optimizer"))
    yield from ((change,) for change in more_gpus)
    if not training.checkpointing:
        yield from ((Change("/training/checkpointing", True), change) for change in more_gpus)
    yield from (changes for changes in options if _field(changes[0]) not in ("checkpointing", "optimizer"))
    # last, each option on the most GPUs
    yield from ((*changes, more_gpus[-1]) for changes in options if more_gpus)


def _usable(workload: Workload) -> Callable[[Change], bool]:
    """Returns a function that says whether the job may have a change at all."""
    stored_dtype = workload.shape.dtype if workload.dtype == "auto" else workload.dtype

    def usable(change: Change) -> bool:
        name = _field(change)
        if name not in workload.memory_settings:
            return False
        match name:
            case "lora":
                return workload.trained_patterns == "all" and workload.training.lora is None
            case "master_weights":
                return stored_dtype == "bfloat16"
            case "optimizer":
                return workload.training.optimizer == "adamw"
        return True

    return usable


def _field(change: Change) -> str:
    return change.pointer.rpartition("/")[2]


def _fits(workload: Workload, changes: Sequence[Change], classes: Sequence[WorkerClass]) -> bool:
    return find_shortage(apply_changes(workload, changes), classes) is None


def _limits(worker_class: WorkerClass, gpus: int) -> dict[Place, int] | None:
    """Returns the memory that a job of so many GPUs may use. None: it cannot run, or the memory is not declared."""
    if gpus == 0:
        host = worker_class.memory_bytes if worker_class.gpus == 0 else worker_class.host_bytes
        return None if host is None else {"host": host}
    if worker_class.gpus < gpus:
        return None
    device = int((worker_class.memory_bytes - _CUDA_CONTEXT) * (1 - _FRAGMENTS))
    limits: dict[Place, int] = {"device": device}
    return limits if worker_class.host_bytes is None else limits | {"host": worker_class.host_bytes}


def _class_shortage(memory: Memory, worker_class: WorkerClass, gpus: int) -> Shortage | None:
    for place, limit in (_limits(worker_class, gpus) or {}).items():
        phase = memory.peak(place)
        if phase.total(place) > limit:
            return Shortage(place, phase, max(0, limit), worker_class)
    return None
