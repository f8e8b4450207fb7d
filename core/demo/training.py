"""The course of a training on records, from scratch or not: batches, learning rate, report."""

import random
from collections.abc import Callable, Sequence
from pathlib import Path

from core.lm.data import Chunk
from core.schema.record import Record

Report = Callable[[int, int, float], None]
"""Gets the step, the number of steps, and the step's loss in nats per token."""


def length_batches(chunks: Sequence[Chunk], rows: int, order: random.Random) -> list[list[Chunk]]:
    """Returns an epoch's batches: like lengths together, within random groups of eight batches, so that any two records
    may share a batch."""
    shuffled = order.sample(list(chunks), len(chunks))
    batches = []
    for start in range(0, len(shuffled), 8 * rows):
        group = sorted(shuffled[start : start + 8 * rows], key=lambda chunk: len(chunk.ids))
        batches += [group[first : first + rows] for first in range(0, len(group), rows)]
    order.shuffle(batches)
    return batches


def rate_factor(step: int, steps: int, warmup: int) -> float:
    """Returns the share of the learning rate at a step: it rises in `warmup` steps, then falls to nearly 0."""
    warmup = min(warmup, steps // 4)
    return (step + 1) / warmup if step < warmup else (steps - step) / (steps - warmup)


def read_records(paths: Sequence[Path]) -> list[Record]:
    """Reads the records of JSON Lines files, in order."""
    lines = [line for path in paths for line in path.read_text(encoding="utf-8").split("\n")]
    return [Record.model_validate_json(line) for line in lines if line.strip()]
