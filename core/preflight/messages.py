"""Estimates in words: sizes, what does not fit, and which changes would help."""

from collections.abc import Sequence

from core.preflight.capacity import Change, Saving, Shortage
from core.preflight.memory import Phase, Place
from core.schema.training import Lora

MAX_ITEMS = 4


def format_bytes(count: int) -> str:
    """Formats bytes as GPUs are sold: 1 GB is 2^30."""
    return f"{count / (1 << 30):.1f} GB" if count >= 1 << 29 else f"{count / (1 << 20):.0f} MB"


def describe_items(phase: Phase, place: Place) -> str:
    """Lists the largest items in a place's memory during a phase."""
    items = sorted((item for item in phase.items if item.place == place), key=lambda item: -item.bytes)
    largest = ", ".join(f"{item.name} {format_bytes(item.bytes)}" for item in items[:MAX_ITEMS])
    return largest + (", and less besides" if len(items) > MAX_ITEMS else "")


def describe_shortage(shortage: Shortage, gpus: int) -> str:
    """Says why a job does not fit, with the numbers."""
    where = f"each of {gpus} GPUs" if gpus > 1 else "the GPU" if gpus else "the host"
    if shortage.place == "host" and gpus:
        where = "the host"
    needs = f"the job needs {format_bytes(shortage.needed)} on {where} while {shortage.phase.name}"
    needs += f" ({describe_items(shortage.phase, shortage.place)})"
    if shortage.worker_class is None:
        return f"{needs}, and no declared worker has {gpus} GPUs"
    return f"{needs}; the worker class '{shortage.worker_class.name}' has {format_bytes(shortage.available)} for it"


def describe_change(change: Change) -> str:
    """Writes a change as a field of the request and its value."""
    name = change.pointer.removeprefix("/").replace("/", ".")
    if isinstance(change.value, Lora):
        return f"{name} = {{}} (adapters of rank {change.value.rank})"
    value = str(change.value).lower() if isinstance(change.value, bool) else change.value
    return f"{name} = {value}"


def describe_changes(changes: Sequence[Change]) -> str:
    """Writes changes that are made together."""
    return " and ".join(map(describe_change, changes))


def fit_advice(alternatives: Sequence[Sequence[Change]]) -> str:
    """Says with which changes the job would fit, the smallest first."""
    if not alternatives:
        return "nothing that the service knows to change would make it fit: a larger worker or a smaller model would"
    return "it would fit with " + ", or with ".join(map(describe_changes, alternatives))


def savings_advice(savings: Sequence[Saving]) -> str:
    """Says which changes would take less memory, and how much less, the smallest change first."""
    if not savings:
        return "nothing that the service knows to change would make it take much less there"
    options = ", ".join(f"{format_bytes(saving.after)} with {describe_changes(saving.changes)}" for saving in savings)
    return f"it was expected to take {format_bytes(savings[0].before)} there, and would take {options}"
