"""An estimate in words for people: sizes, what lacks, what would help."""

from collections.abc import Sequence

from core.preflight.fitting import Change, Saving, Shortage
from core.preflight.memory import Phase, Place
from core.schema.training import Lora

MOST_ITEMS = 4


def size(count: int) -> str:
    """Bytes as GPUs are sold: 1 GB is 2^30."""
    return f"{count / (1 << 30):.1f} GB" if count >= 1 << 29 else f"{count / (1 << 20):.0f} MB"


def items(phase: Phase, place: Place) -> str:
    """The largest things in memory then."""
    found = sorted((one for one in phase.items if one.place == place), key=lambda one: -one.bytes)
    named = ", ".join(f"{one.what} {size(one.bytes)}" for one in found[:MOST_ITEMS])
    return named + (", and less besides" if len(found) > MOST_ITEMS else "")


def lack(found: Shortage, gpus: int) -> str:
    """Why a job does not fit, with the numbers."""
    where = f"each of {gpus} GPUs" if gpus > 1 else "the GPU" if gpus else "the host"
    if found.place == "host" and gpus:
        where = "the host"
    needs = f"the job needs {size(found.needed)} on {where} while {found.phase.name}"
    needs += f" ({items(found.phase, found.place)})"
    if found.worker_class is None:
        return f"{needs}, and no declared worker has {gpus} GPUs"
    return f"{needs}; the worker class '{found.worker_class.name}' has {size(found.available)} for it"


def change(one: Change) -> str:
    """What to put where, as a request says it."""
    name = one.pointer.removeprefix("/").replace("/", ".")
    if isinstance(one.value, Lora):
        return f"{name} = {{}} (adapters of rank {one.value.rank})"
    value = str(one.value).lower() if isinstance(one.value, bool) else one.value
    return f"{name} = {value}"


def advice(found: Sequence[Sequence[Change]]) -> str:
    """What would fit, the smallest change first."""
    if not found:
        return "nothing that the service knows to change would make it fit: a larger worker or a smaller model would"
    return "it would fit with " + ", or with ".join(map(together, found))


def together(these: Sequence[Change]) -> str:
    return " and ".join(map(change, these))


def thrift(found: Sequence[Saving]) -> str:
    """What would take less, and how much less, the smallest change first."""
    if not found:
        return "nothing that the service knows to change would make it take much less there"
    less = ", ".join(f"{size(one.after)} with {together(one.changes)}" for one in found)
    return f"it was expected to take {size(found[0].before)} there, and would take {less}"
