"""Reads the jobs' exports back by plain transformers, in processes of their own, and compares them with the core."""

import threading
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tests.architectures import jobs
from tests.architectures.row import Row
from tests.plain_transformers import Major, Reader, Unreadable

LIMIT = 1e-3
"""The largest difference of log-probabilities, in nats, that float32 explains."""
SECONDS = 60

_OWN = threading.local()


def compare(row: Row, folder: Path, steps: frozenset[str]) -> None:
    """Fills in the row's results for the exports that its process left in the folder."""
    if "export" in steps and row.job == "done":
        expected = _figures(folder / "job.npz")
        row.export5 = _export(row, 5, folder / "job" / "export", expected)
        row.export4 = _export_of_4(row, folder, expected)
    if row.adapter == "done":
        row.adapter = _merged(row, folder)


def _reader(major: Major) -> Reader:
    """Returns this thread's reader."""
    readers: dict[Major, Reader] = _OWN.__dict__.setdefault("readers", {})
    if major not in readers:
        readers[major] = Reader(major, adapters=major == 5)
    return readers[major]


def _export(row: Row, major: Major, directory: Path, expected: list[NDArray[np.float64]]) -> str:
    try:
        logits = _reader(major).logits(directory, jobs.ROWS, seconds=SECONDS)
    except Unreadable as error:
        row.fail("off", f"transformers {major} does not read the export: {_last(error)}")
        return "not read"
    off = jobs.largest_difference(jobs.plain_log_probabilities(logits), expected)
    if off > LIMIT:
        row.fail("off", f"the export in transformers {major} is off by {off:.2g}")
    return f"{off:.0e}"


def _export_of_4(row: Row, folder: Path, expected: list[NDArray[np.float64]]) -> str:
    """Compares the export in 4.57, provided that 4.57 reads the original model as 5 does."""
    reader = _reader(4)
    if row.name not in reader.model_types:
        return "unknown there"
    original = folder / "model"
    try:
        before = jobs.plain_log_probabilities(reader.logits(original, jobs.ROWS, seconds=SECONDS))
        now = jobs.plain_log_probabilities(_reader(5).logits(original, jobs.ROWS, seconds=SECONDS))
    except Unreadable as error:
        row.note(f"4.57 does not read the model that came in: {_last(error)}")
        return "not read before either"
    if (off := jobs.largest_difference(before, now)) > LIMIT:
        row.note(f"4.57 reads the model that came in as another (off by {off:.2g})")
        return "another before too"
    return _export(row, 4, folder / "job" / "export", expected)


def _merged(row: Row, folder: Path) -> str:
    """Compares the core's merged export with base and adapter by peft, both in processes of their own."""
    reader = _reader(5)
    try:
        merged = jobs.plain_log_probabilities(reader.logits(folder / "merged" / "export", jobs.ROWS, seconds=SECONDS))
    except Unreadable as error:
        row.fail("off", f"transformers does not read the merged export: {_last(error)}")
        return "merged not read"
    base = jobs.plain_log_probabilities(reader.logits(folder / "model", jobs.ROWS, seconds=SECONDS))
    if jobs.largest_difference(merged, base) == 0.0:
        row.fail("off", "the merged model is the base: the adapter did nothing")
        return "no effect"
    off = jobs.largest_difference(merged, _figures(folder / "merged.npz"))
    if off > LIMIT:
        row.fail("off", f"the merged export is off by {off:.2g} from what the core says of it")
        return f"merged off by {off:.2g}"
    try:
        adapter = folder / "alone" / "export"
        unmerged = jobs.plain_log_probabilities(
            reader.logits(folder / "model", jobs.ROWS, adapter=adapter, seconds=SECONDS)
        )
    except Unreadable as error:
        row.fail("off", f"peft does not read the adapter: {_last(error)}")
        return "adapter not read"
    off = jobs.largest_difference(merged, unmerged)
    if off > LIMIT:
        row.fail("off", f"merged and base with adapter differ by {off:.2g}")
    return f"{off:.0e}"


def _figures(path: Path) -> list[NDArray[np.float64]]:
    with np.load(path) as figures:
        return [figures[f"arr_{number}"] for number in range(len(jobs.ROWS))]


def _last(error: Unreadable) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[-1][:200] if lines else "no word"
