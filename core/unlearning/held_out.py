"""Retain records that a tuned training sets aside, to see what it does to text that no term holds."""

import numpy as np

from core.schema.job_spec import RecordSet
from core.schema.record import Record

SHARE = 0.15
MOST = 48
"""Records set aside at most, of all retain sets."""
LEAST = 8
"""Records set aside at least, as one or two tell nothing, but never more than MOST_SHARE."""
MOST_SHARE = 1 / 3
FEWEST = 8
"""Of fewer retain records none is set aside: the training needs them all."""


def hold_out(retain: list[RecordSet], seed: int) -> tuple[list[RecordSet], list[Record]]:
    """Returns the retain sets without a share of their records, and those records; the same for the same seed."""
    total = sum(len(records.records) for records in retain)
    if total < FEWEST:
        return retain, []
    aim = min(max(SHARE * total, min(LEAST, MOST_SHARE * total)), MOST)
    kept, held_out, seen, taken = [], [], 0, 0
    for number, records in enumerate(retain):
        seen += len(records.records)
        count = int(aim * seen / total + 1e-9) - taken  # of each set its part, and of all sets the aim
        taken += count
        order = np.random.default_rng([seed, number, 3]).permutation(len(records.records))
        aside = set(order[:count].tolist())
        held_out += [record for place, record in enumerate(records.records) if place in aside]
        trained = [record for place, record in enumerate(records.records) if place not in aside]
        kept.append(records.model_copy(update={"records": trained}))
    return kept, held_out
