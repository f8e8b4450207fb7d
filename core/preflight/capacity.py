"""Whether a job fits on the machines that the operator has, and the smallest change with which it would."""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from core.preflight.memory import Memory, Phase, Place
from core.preflight.workload import Workload
from core.schema.preflight import WorkerClass
from core.schema.training import Lora

_CUDA_CONTEXT = 1 << 30
"""Of a GPU's memory, what is never PyTorch's to give: the driver's context and kernels."""
_FRAGMENTS = 0.05
"""Of what is left, what its allocator loses between blocks."""


@dataclass(frozen=True)
class Change:
    """One thing that a request could say otherwise: the field by its JSON pointer, and what to put there."""

    pointer: str
    value: Any


@dataclass(frozen=True)
class Shortage:
    """Where it does not fit: the phase and the place that lack memory, on the class that has most of it."""

    place: Place
    phase: Phase
    available: int
    worker_class: WorkerClass | None

    @property
    def needed(self) -> int:
        return self.phase.total(self.place)


@dataclass(frozen=True)
class Saving:
    """Changes, and what the job is expected to take where memory was short, in bytes: without them and with them."""

    changes: tuple[Change, ...]
    before: int
    after: int


_WORTHWHILE = 0.2
"""A saving that is worth a change of what was asked for."""

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
    (Change("/training/lora", Lora()),),
    (Change("/training/lora", Lora()), Change("/training/checkpointing", True)),
    (
        Change("/training/lora", Lora()),
        Change("/training/master_weights", "bfloat16"),
        Change("/training/checkpointing", True),
    ),
)
"""From the least to the most: first what leaves every update what it is, then coarser numbers, last another model."""


def find_shortage(work: Workload, classes: Sequence[WorkerClass]) -> Shortage | None:
    """None: some class holds the job, or none is declared that would have to."""
    if not classes:
        return None
    eligible = [one for one in classes if _limits(one, work.gpus) is not None]
    if not eligible and work.gpus == 0:
        return None  # machines with GPUs run jobs without too, and what memory they have for these is not known
    memory = Memory(work)
    found = [_lack(memory, one, work.gpus) for one in eligible]
    if not eligible:
        return Shortage("device", memory.peak("device"), 0, None)
    if None in found:
        return None
    return max((one for one in found if one is not None), key=lambda one: (one.available, one.place))


def fitting_changes(work: Workload, classes: Sequence[WorkerClass], *, most: int = 3) -> list[tuple[Change, ...]]:
    """The smallest changes that make the job fit, at most so many, the least first; empty: none of those known does."""
    found: list[tuple[Change, ...]] = []
    for one in _candidates(work, classes):
        more_than_enough = any(set(map(_name, before)) <= set(map(_name, one)) for before in found)
        if not more_than_enough and _fits(work, one, classes):
            found.append(one)
            if len(found) == most:
                break
    return found


def memory_savings(work: Workload, during: Collection[str], classes: Sequence[WorkerClass] = ()) -> list[Saving]:
    """What would take less in those phases, from the least change on, each a fifth less than the one before at least.

    For a job that ran out of memory although nothing spoke against it. `classes` say how many GPUs it could share.
    """
    place: Place = "device" if work.gpus else "host"
    least, found = _needed(work, during, place), []
    before = least
    for these in _candidates(work, classes):
        needed = _needed(apply_changes(work, these), during, place)
        if needed <= (1 - _WORTHWHILE) * least:
            found.append(Saving(these, before, needed))
            least = needed
    return found


def _needed(work: Workload, during: Collection[str], place: Place) -> int:
    return max((phase.total(place) for phase in Memory(work).phases if phase.name in during), default=0)


def apply_changes(work: Workload, these: Sequence[Change]) -> Workload:
    """The job with the changes made."""
    for change in these:
        name = change.pointer.rpartition("/")[2]
        if name == "gpus":
            work = replace(work, gpus=change.value)
        else:
            work = replace(work, training=work.training.model_copy(update={name: change.value}))
    return work


def _candidates(work: Workload, classes: Sequence[WorkerClass]) -> Iterator[tuple[Change, ...]]:
    training, usable = work.training, _usable(work)
    if work.method is None:  # only how weights are held is the same in measuring
        narrow = Change("/training/master_weights", "bfloat16")
        if usable(narrow) and training.master_weights != narrow.value:
            yield (narrow,)
        return
    steps = [these for these in _TRAINING if all(usable(one) for one in these)]
    steps = [these for these in steps if any(getattr(training, _name(one)) != one.value for one in these)]
    more = [
        Change("/resources/gpus", count)
        for count in range(work.gpus + 1, max((one.gpus for one in classes), default=0) + 1)
    ]
    yield from (these for these in steps if _name(these[0]) in ("checkpointing", "optimizer"))
    yield from ((one,) for one in more)
    if not training.checkpointing:
        yield from ((Change("/training/checkpointing", True), one) for one in more)
    yield from (these for these in steps if _name(these[0]) not in ("checkpointing", "optimizer"))
    # the most at once, on the most GPUs
    yield from ((*these, more[-1]) for these in steps if more)


def _usable(work: Workload) -> Callable[[Change], bool]:
    """Which changes the job may have at all."""
    only = None if work.method is None else work.method.trained_weights(work.shape.layers)
    chosen = work.training.trainable != "all" or only is not None
    stored = work.shape.dtype if work.dtype == "auto" else work.dtype

    def usable(change: Change) -> bool:
        match _name(change):
            case "lora":
                return not chosen and work.training.lora is None
            case "master_weights":
                return stored == "bfloat16"
            case "optimizer":
                return work.training.optimizer == "adamw"
        return True

    return usable


def _name(change: Change) -> str:
    return change.pointer.rpartition("/")[2]


def _fits(work: Workload, these: Sequence[Change], classes: Sequence[WorkerClass]) -> bool:
    return find_shortage(apply_changes(work, these), classes) is None


def _limits(one: WorkerClass, gpus: int) -> dict[Place, int] | None:
    """What a job of so many GPUs may use there; None: it would not run there, or nobody said how much that is."""
    if gpus == 0:
        host = one.memory_bytes if one.gpus == 0 else one.host_bytes
        return None if host is None else {"host": host}
    if one.gpus < gpus:
        return None
    limits: dict[Place, int] = {"device": int((one.memory_bytes - _CUDA_CONTEXT) * (1 - _FRAGMENTS))}
    return limits if one.host_bytes is None else limits | {"host": one.host_bytes}


def _lack(memory: Memory, one: WorkerClass, gpus: int) -> Shortage | None:
    for place, limit in (_limits(one, gpus) or {}).items():
        phase = memory.peak(place)
        if phase.total(place) > limit:
            return Shortage(place, phase, max(0, limit), one)
    return None
