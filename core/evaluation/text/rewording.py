"""Records in other words, without a model: their sentences and clauses in another order."""

import re

from core.schema.record import Record

_ENDS = re.compile(r"(?<=[.!?;])\s+")
"""Places between two sentences, or between clauses that a semicolon divides."""


def reworded(record: Record) -> Record:
    """Returns the record with the sentences of its scored text rotated by one; a single sentence is cut at its first
    comma, or is introduced by other words."""
    text = record.scored_text.strip()
    parts = [part for part in _ENDS.split(text) if part]
    if len(parts) < 2:
        parts = [part for part in re.split(r"(?<=,)\s+", text, maxsplit=1) if part]
    if len(parts) < 2:
        return record.with_scored_text(f" In other words: {text}")
    return record.with_scored_text(f" {' '.join(parts[1:])} {parts[0]}")
