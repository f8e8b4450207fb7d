"""A record's rank among its twins by a sequential test that stops when the rank is clear.

Twins are scored in random order, 19 first and then 20 at a time (`looks`). Scoring stops

- once ENOUGH twins have a lower loss than the record: its rank is clearly not among the first (Besag and Clifford 1991,
  Biometrika 78:301);
- where none of the first KNOWN_FROM twins has: the record stands out. Of records that more than a tenth of all twins
  would beat, fewer than 1.7 % are taken for such.

The estimated rank is the exact one where all twins were scored with fewer than ENOUGH lower losses. For the others it
is the unbiased estimate of a stopped count (Girshick, Mosteller and Savage 1946, Ann. Math. Stat. 17:13). A record that
stands out has rank 1, so a mean over all orders is too low by at most 0.008 (twins + 1): the record seems better known.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import lru_cache, partial

from core.evaluation.stats.bootstrap import Values

ENOUGH = 5
"""Twins with a lower loss that make the rank clear."""
KNOWN_FROM = 39
"""Twins of which none has a lower loss that make the rank clear."""
_FIRST, _NEXT = 19, 20


def looks(twins: int) -> list[int]:
    """The numbers of scored twins after which the test may stop: 19, 39, 59 and so on, and all."""
    return [*range(_FIRST, twins, _NEXT), twins]


def is_clear(lower: int, scored: int) -> bool:
    """Whether the rank is clear, where `lower` of `scored` twins have a lower loss than the record."""
    return lower >= ENOUGH or (lower == 0 and scored >= KNOWN_FROM)


def estimated_rank(lower: int, scored: int, twins: int) -> float:
    """The rank among all twins, from 1 to twins + 1, of a record that stopped with `lower` of `scored`."""
    before = _look_before(scored, twins)
    if lower < ENOUGH or not before:
        return 1 + twins * lower / scored
    orders = _orders(scored, lower, before, partial(math.comb, before))
    first_lower = _orders(scored, lower, before, lambda seen: math.comb(before - 1, seen - 1) if seen else 0)
    return 1 + twins * first_lower / orders


def stopped_rank(lower: Values, twins: int) -> tuple[float, int]:
    """(the estimated rank, how many twins were scored) of a record.

    `lower` (twins,) is 1 for each twin, in random order, whose loss is lower, and 0 for the others.
    """
    scored = next(look for look in looks(twins) if look == twins or is_clear(int(lower[:look].sum()), look))
    return estimated_rank(int(lower[:scored].sum()), scored, twins), scored


@lru_cache
def never_seen_ranks(twins: int) -> dict[int, float]:
    """The probabilities of the estimated ranks, rounded, for a record that the model never saw."""
    probabilities: dict[int, float] = defaultdict(float)
    for lower, scored, probability in _ends(twins):
        probabilities[math.floor(estimated_rank(lower, scored, twins) + 0.5)] += probability
    return dict(probabilities)


def expected_twins(twins: int) -> float:
    """The mean number of twins that are scored of a record that the model never saw."""
    return sum(scored * probability for _, scored, probability in _ends(twins))


def _ends(twins: int) -> Iterator[tuple[int, int, float]]:
    """Yields (lower, scored, probability) for every end of the test, for a record that the model never saw.

    Its exact rank is uniform, so any one order of k lower and m - k other twins has the probability
    k! (m - k)! / (m + 1)!.
    """
    for scored in looks(twins):
        before = _look_before(scored, twins)
        for lower in range(scored + 1):
            if scored < twins and not is_clear(lower, scored):
                continue
            orders = _orders(scored, lower, before, partial(_unfinished, before))
            if orders:
                yield lower, scored, orders / (math.comb(scored, lower) * (scored + 1))


def _unfinished(scored: int, lower: int) -> int:
    """How many orders of so many lower losses, fewer than ENOUGH, the test has not stopped by then."""
    stood_out = math.comb(scored - KNOWN_FROM, lower) if scored >= KNOWN_FROM else 0
    return math.comb(scored, lower) - stood_out


def _orders(scored: int, lower: int, before: int, reach: Callable[[int], int]) -> int:
    """How many orders get here; `reach` gives how many get to fewer than ENOUGH lower losses at the look before."""
    if not before:
        return math.comb(scored, lower)
    return sum(reach(seen) * math.comb(scored - before, lower - seen) for seen in range(min(ENOUGH, lower + 1)))


def _look_before(scored: int, twins: int) -> int:
    """The number of twins at the look before; 0: this is the first."""
    places = looks(twins)
    place = places.index(scored)
    return places[place - 1] if place else 0
