"""Ranks of records among their twins. The twins of several records go through the model together."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from core.evaluation.attacks.sequential_rank import estimated_rank, is_clear, looks
from core.evaluation.eval_context import EvalContext
from core.evaluation.scores.likelihood import cross_entropies
from core.evaluation.stats.bootstrap import Values
from core.lm.errors import CoreError
from core.schema.record import Record


@dataclass(frozen=True)
class Rank:
    """The rank of a record's loss, from 1 to its number of twins + 1, and how many of its twins were scored."""

    rank: float
    scored: int


def twin_ranks(
    context: EvalContext, records: Sequence[Record], twins: Sequence[Sequence[Record]], *, exhaustive: bool = False
) -> list[Rank | None]:
    """Ranks records among their twins, all of them the same number, by `core.evaluation.attacks.sequential_rank`.

    `exhaustive`: all twins are scored, and the rank is exact. The order of the twins, and whether a twin of the same
    loss counts as lower, are drawn by the seed and the record's digest. None where a record or a scored twin has no
    token to score. Raises CoreError as encoding does, and whatever `context.check_stop` raises.
    """
    count = len(twins[0]) if twins else 0
    places = [count] if exhaustive else looks(count)
    draws = [np.random.default_rng([context.seed, *record.digest()[:8]]) for record in records]
    ordered = [[copies[index] for index in draw.permutation(count)] for copies, draw in zip(twins, draws, strict=True)]
    own = np.zeros(len(records))
    lower = [0] * len(records)
    ranks: list[Rank | None] = [None] * len(records)
    open_records = list(range(len(records)))
    for before, look in pairwise([0, *places]):
        context.check_stop()
        texts = [([records[index]] if before == 0 else []) + ordered[index][before:look] for index in open_records]
        still_open = []
        for index, losses in zip(open_records, _losses(context, texts), strict=True):
            if losses is None:
                continue
            if before == 0:
                own[index], losses = losses[0], losses[1:]
            ties = draws[index].random(len(losses)) < 0.5
            lower[index] += int(((losses < own[index]) | ((losses == own[index]) & ties)).sum())
            if look == count or is_clear(lower[index], look):
                rank = 1.0 + lower[index] if exhaustive else estimated_rank(lower[index], look, count)
                ranks[index] = Rank(rank, look)
            else:
                still_open.append(index)
        open_records = still_open
    return ranks


def _losses(context: EvalContext, texts: Sequence[Sequence[Record]]) -> list[Values | None]:
    """The cross entropies of each list of records, from one pass over all lists; None where a record has no token to
    score."""
    encoded = []
    for records in texts:
        try:
            encoded.append(context.encode(records))
        except CoreError as error:
            if error.code != "no_scored_tokens":  # a twin may be shorter than the record
                raise
            encoded.append([])
    starts = np.cumsum([0, *(len(records) if chunks else 0 for records, chunks in zip(texts, encoded, strict=True))])
    chunks = [
        replace(chunk, record=int(start) + chunk.record)
        for start, group in zip(starts, encoded, strict=False)
        for chunk in group
    ]
    # a record that is cut into several chunks is read as it is: its later chunks begin otherwise than its twins'
    places = np.cumsum([0, *(len(group) for group in encoded)])
    variants = [
        range(place, place + len(group))
        for place, group, records in zip(places.tolist(), encoded, texts, strict=False)
        if len(group) == len(records)
    ]
    losses = cross_entropies(context.chunk_statistics(chunks, int(starts[-1]), label="twins'", variants=variants))
    return [losses[start:end] if end > start else None for start, end in pairwise(starts)]
