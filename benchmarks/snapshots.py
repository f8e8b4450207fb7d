"""The price of sealing snapshots: writing and reading them beside plain files with digests: `unlearn bench snapshots`.

    python -m benchmarks.snapshots --mebibytes 1024 --out docs/benchmarks.md

Both ways write the same tensors, flush them to the disk and check every byte before they read. They take turns.
"""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Annotated, Protocol

import torch
import typer
from rich.console import Console
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from benchmarks.command_line import run
from benchmarks.generated_page import aligned_table, replace_section
from benchmarks.machine import current_machine
from core.lm.fingerprint import Fingerprint
from core.lm.sealed_file import flush_to_disk
from core.lm.snapshots import Snapshots
from core.schema.manifest import FileEntry, file_entry

console = Console(highlight=False)
TENSOR = 1 << 24
"""Values of a tensor: 64 MiB in float32, about a large layer's weight."""
TENSORS_IN_FILE = 16
MEBIBYTE = 1 << 20


class Kind(Protocol):
    """A way to keep a snapshot in a folder."""

    def write(self, folder: Path, tensors: dict[str, Tensor]) -> None:
        """Writes the tensors and returns once they are on the disk."""
        ...

    def read(self, folder: Path) -> Iterator[tuple[str, Tensor]]:
        """Checks all bytes that `write` wrote, then yields the tensors."""
        ...


class Sealed:
    """The service's snapshots."""

    def _snapshots(self, folder: Path) -> Snapshots:
        return Snapshots(folder, 1, Fingerprint({}, b""), key=bytes(32), report=lambda _: None)

    def write(self, folder: Path, tensors: dict[str, Tensor]) -> None:
        if not self._snapshots(folder).write(1, tensors, {}):
            raise typer.BadParameter("the folder's disk is full, or cannot be written")

    def read(self, folder: Path) -> Iterator[tuple[str, Tensor]]:
        newest = self._snapshots(folder).newest()
        return iter(()) if newest is None else newest.tensors()


class Plain:
    """Safetensors and their sha256, computed while the next file is written: how snapshots were kept before."""

    def __init__(self) -> None:
        self._entries: list[FileEntry] = []

    def write(self, folder: Path, tensors: dict[str, Tensor]) -> None:
        names = list(tensors)
        with ThreadPoolExecutor(8) as pool:
            entries = []
            for number, first in enumerate(range(0, len(names), TENSORS_IN_FILE)):
                path = folder / f"{number:05}.safetensors"
                save_file({name: tensors[name] for name in names[first : first + TENSORS_IN_FILE]}, path)
                entries.append(pool.submit(self._flushed_entry, path))
            self._entries = [entry.result() for entry in entries]

    def read(self, folder: Path) -> Iterator[tuple[str, Tensor]]:
        paths = [folder / entry.path for entry in self._entries]
        with ThreadPoolExecutor(8) as pool:
            if list(pool.map(lambda path: file_entry(path, path.name), paths)) != self._entries:
                raise ValueError("a file has changed")
        for path in paths:
            with safe_open(path, framework="pt") as file:
                for name in file.keys():  # noqa: SIM118 - no dict
                    yield name, file.get_tensor(name).clone()

    def _flushed_entry(self, path: Path) -> FileEntry:
        flush_to_disk(path)
        return file_entry(path, path.name)


@dataclass
class Times:
    """Seconds of one kind, round by round."""

    write: list[float] = field(default_factory=list)
    read: list[float] = field(default_factory=list)


def snapshots(
    folder: Annotated[
        Path | None, typer.Option(help="A folder on the disk to time; the temporary one by default.")
    ] = None,
    mebibytes: Annotated[int, typer.Option(min=64, help="The size of a snapshot, in multiples of 64.")] = 1024,
    rounds: Annotated[int, typer.Option(min=1, help="How often each kind writes and reads.")] = 5,
    out: Annotated[Path | None, typer.Option("--out", help="The Markdown file whose table is replaced.")] = None,
) -> None:
    """Time writing and reading a snapshot, sealed and plain."""
    tensors = {str(number): torch.rand(TENSOR) for number in range(mebibytes * MEBIBYTE // (4 * TENSOR))}
    size = sum(tensor.nbytes for tensor in tensors.values())
    times = {"sealed": Times(), "plain": Times()}
    kinds: dict[str, Kind] = {"sealed": Sealed(), "plain": Plain()}
    for number in range(rounds):
        console.print(f"round {number + 1} of {rounds}")
        for name in kinds if number % 2 else reversed(kinds):
            with TemporaryDirectory(dir=folder) as place:
                times[name].write.append(_seconds(partial(kinds[name].write, Path(place), tensors)))
                times[name].read.append(_seconds(partial(_read_all, kinds[name], Path(place), tensors)))
    text = f"Made {datetime.now(UTC):%Y-%m-%d} by `unlearn bench snapshots --mebibytes {mebibytes}`: "
    text += f"{current_machine().description()}.\n\n{table(times, size)}"
    console.print(text, markup=False, soft_wrap=True)
    if out is not None:
        replace_section(out, "snapshots", text)


def _seconds(work: Callable[[], None]) -> float:
    began = time.monotonic()
    work()
    return time.monotonic() - began


def _read_all(kind: Kind, folder: Path, tensors: dict[str, Tensor]) -> None:
    """Reads the snapshot as a resumed job does, into weights that are there already. Raises ValueError if one lacks."""
    weight = torch.empty(TENSOR)
    count = 0
    for _, tensor in kind.read(folder):
        weight.copy_(tensor)
        count += 1
    if count != len(tensors):
        raise ValueError("a tensor is missing")


def table(times: dict[str, Times], size: int) -> str:
    """Returns MiB a second by kind, the median with the range in brackets, and the ratio of the medians."""
    lines = [["", "", "sealed, MiB/s", "plain, MiB/s", "sealed / plain"]]
    for work in ("write", "read"):
        speeds = {
            name: [size / MEBIBYTE / seconds for seconds in getattr(times[name], work)] for name in ("sealed", "plain")
        }
        ratio = median(speeds["sealed"]) / median(speeds["plain"])
        cells = [f"{median(values):,.0f} ({min(values):,.0f}–{max(values):,.0f})" for values in speeds.values()]
        lines.append([work, f"{size / MEBIBYTE:,.0f} MiB", *cells, f"{ratio:.2f}"])
    return aligned_table(lines)


if __name__ == "__main__":
    run(snapshots, name="snapshots")
