"""Distinct-n: how much a text repeats itself, in runs of n tokens."""

from collections.abc import Sequence


def distinct_n(ids: Sequence[int], n: int) -> float | None:
    """The share of different runs among all runs of n tokens; None for a text of fewer than n tokens.

    Source: Li et al., "A Diversity-Promoting Objective Function for Neural Conversation Models", 2016, section 5.2.
    """
    runs = [tuple(ids[start : start + n]) for start in range(len(ids) - n + 1)]
    return len(set(runs)) / len(runs) if runs else None
