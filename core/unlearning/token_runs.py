"""Runs of consecutive tokens: by them a text is recognised that repeats another text in part."""

from collections.abc import Collection, Iterable, Sequence

from core.lm.data import Chunk

RUN = 5
"""Consecutive tokens that mark a repetition of the forget set where no other set has them."""

TokenRun = tuple[int, ...]


def runs_of(tokens: Sequence[int]) -> list[TokenRun]:
    """All runs of RUN tokens, in order."""
    return [tuple(tokens[start : start + RUN]) for start in range(len(tokens) - RUN + 1)]


def chunk_runs(chunks: Iterable[Chunk]) -> set[TokenRun]:
    """All runs of the chunks, without each chunk's first token."""
    return {run for chunk in chunks for run in runs_of(chunk.ids.tolist()[1:])}


def covered(tokens: Sequence[int], runs: Collection[TokenRun]) -> list[bool]:
    """For each token, whether it lies in one of the runs."""
    marks = [False] * len(tokens)
    for start, run in enumerate(runs_of(tokens)):
        if run in runs:
            marks[start : start + RUN] = [True] * RUN
    return marks
