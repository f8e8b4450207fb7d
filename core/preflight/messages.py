"""An estimate in words for people: sizes, what lacks, what would help."""

from collections.abc import Sequence

from core.preflight.capacity import Change, Saving, Shortage
from core.preflight.memory import Phase, Place
from core.schema.training import Lora

MAX_ITEMS = 4


def format_bytes(count: int) -> str:
    """Bytes as GPUs are sold: 1 GB is 2^30."""
    return f"{count / (1 << 30):.1f} GB" if count >= 1 << 29 else f"{count / (1 << 20):.0f} MB"


def describe_items(phase: Phase, place: Place) -> str:
    """The largest things in memory then."""
    found = sorted((one for one in phase.items if one.place == place), key=lambda one: -one.bytes)
    named = ", ".join(f"{one.what} {format_bytes(one.bytes)}" for one in found[:MAX_ITEMS])
    return named + (", and less besides" if len(found) > MAX_ITEMS else "")


def describe_shortage(found: Shortage, gpus: int) -> str:
    """Why a job does not fit, with the numbers."""
    where = f"each of {gpus} GPUs" if gpus > 1 else "the GPU" if gpus else "the host"
    if found.place == "host" and gpus:
        where = "the host"
    needs = f"the job needs {format_bytes(found.needed)} on {where} while {found.phase.name}"
    needs += f" ({describe_items(found.phase, found.place)})"
    if found.worker_class is None:
        return f"{needs}, and no declared worker has {gpus} GPUs"
    return f"{needs}; the worker class '{found.worker_class.name}' has {format_bytes(found.available)} for it"


def describe_change(one: Change) -> str:
    """What to put where, as a request says it."""
    name = one.pointer.removeprefix("/").replace("/", ".")
    if isinstance(one.value, Lora):
        return f"{name} = {{}} (adapters of rank {one.value.rank})"
    value = str(one.value).lower() if isinstance(one.value, bool) else one.value
    return f"{name} = {value}"


def fit_advice(found: Sequence[Sequence[Change]]) -> str:
    """What would fit, the smallest change first."""
    if not found:
        return "nothing that the service knows to change would make it fit: a larger worker or a smaller model would"
    return "it would fit with " + ", or with ".join(map(describe_changes, found))


def describe_changes(these: Sequence[Change]) -> str:
    return " and ".join(map(describe_change, these))


def savings_advice(found: Sequence[Saving]) -> str:
    """What would take less, and how much less, the smallest change first."""
    if not found:
        return "nothing that the service knows to change would make it take much less there"
    less = ", ".join(f"{format_bytes(one.after)} with {describe_changes(one.changes)}" for one in found)
    return f"it was expected to take {format_bytes(found[0].before)} there, and would take {less}"
