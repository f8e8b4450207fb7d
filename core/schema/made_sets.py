"""Sets that a job makes where neither the request nor the model has them: their sizes. Without torch."""

SEED_OFFSET = 1_000_003
"""Added to the job's seed: made text is drawn apart from the copies that a measurement makes of the same records, and
from the samples that rehearse."""

_FEWEST_RETAINED, _MOST_RETAINED = 64, 256
_FEWEST_UNSEEN = 32


def retain_records(forget: int) -> int:
    """The number of texts that stand in for a retain set: one half trains, the other half measures."""
    return 2 * min(_MOST_RETAINED, max(_FEWEST_RETAINED, forget))


def unseen_copies(forget: int) -> int:
    """The number of copies of each record to forget, or of texts in its place, that stand in for an unseen set."""
    return max(2, -(-_FEWEST_UNSEEN // forget))
