"""Tries many variants, a few at a time, each in a process forked from one that has imported everything."""

import json
import multiprocessing
import os
import shutil
import tempfile
import time
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

import torch
from transformers.utils import logging

from tests.architectures import configs, readback
from tests.architectures.row import Row
from tests.architectures.trial import try_variant
from tests.architectures.variants import Variant

SECONDS = {"exactness": 180, "job": 120, "export": 60, "adapter": 150}
"""The longest time of a step for one variant."""

_FORK = multiprocessing.get_context("forkserver")
_FORK.set_forkserver_preload(["tests.architectures.trial"])


def sweep(variants: Sequence[Variant], steps: frozenset[str], *, processes: int = 2) -> Iterator[Row]:
    """Yields the variants' rows as they are completed. Jobs are run for the variants of `with_jobs` only."""
    with ThreadPoolExecutor(processes) as pool:
        rows = [
            pool.submit(_in_process, variant, steps if with_jobs(variant) else steps & {"exactness"})
            for variant in variants
        ]
        for row in as_completed(rows):
            yield row.result()


def with_jobs(variant: Variant) -> bool:
    """Whether its settings change the content of a checkpoint; for the others the unchanged architecture stands."""
    return variant.label in ("", "decoder", "tied", "untied")


def _in_process(variant: Variant, steps: frozenset[str]) -> Row:
    folder = Path(tempfile.mkdtemp(prefix="architecture-"))
    limit = sum(SECONDS[step] for step in steps)
    start = time.monotonic()
    try:
        process = _FORK.Process(target=_child, args=(variant, steps, folder))
        process.start()
        process.join(limit)
        row = _read(variant, folder)
        if process.is_alive():
            process.kill()
            process.join()
            row.fail("crashed", f"not done after {limit} s")
        elif process.exitcode:
            row.fail("crashed", f"the process ended with {process.exitcode}: {_tail(folder)}")
        readback.compare(row, folder, steps)
        row.seconds = round(time.monotonic() - start, 1)
        return row
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _child(variant: Variant, steps: frozenset[str], folder: Path) -> None:
    with (folder / "error.txt").open("w") as errors:
        os.dup2(errors.fileno(), 2)
    warnings.simplefilter("ignore")
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    torch.set_num_threads(1)
    try_variant(variant, steps, folder, lambda row: _write(row, folder))


def _write(row: Row, folder: Path) -> None:
    partial = folder / "row.partial"
    partial.write_text(json.dumps(row.as_json()))
    partial.rename(folder / "row.json")


def _read(variant: Variant, folder: Path) -> Row:
    """Reads the row that the process has written so far."""
    path = folder / "row.json"
    if path.exists():
        return Row(**json.loads(path.read_text()))
    return Row(variant.name, variant.label, configs.architecture(variant.name))


def _tail(folder: Path) -> str:
    path = folder / "error.txt"
    return path.read_text()[-300:].replace("\n", " ") if path.exists() else "no word"
