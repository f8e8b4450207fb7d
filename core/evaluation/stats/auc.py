"""Intervals of an AUC at any level, in closed form: a thousand resamples have no tails far beyond 95 %."""

from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from core.evaluation.stats.bootstrap import Values

FEW = 20
"""With fewer records in either set the bootstrap's interval is too narrow, down to no width at all."""

_HALVINGS = 50


def joint_level(judged: int) -> float:
    """The level at which `judged` intervals all hold in 95 % of cases, whatever their correlation (Bonferroni)."""
    return 1 - 0.05 / judged


def joint_interval(members: Values, non_members: Values, *, level: float) -> tuple[Values, Values]:
    """An interval of the AUC of scores (..., m) against (..., n): (...) each.

    DeLong's interval on the logit, which accounts for unequal spreads of the two sets, widened to contain Newcombe's,
    which keeps its width at 0 and 1. With fewer than `FEW` records in a set DeLong's variance is too uncertain, and
    `binomial` is used alone.
    """
    m, n = members.shape[-1], non_members.shape[-1]
    auc, variance = delong(members, non_members)
    if min(m, n) < FEW:
        return binomial(auc, m, n, level=level)
    low, high = newcombe(auc, m, n, level=level)
    inside = (auc > 0) & (auc < 1)
    known = np.where(inside, auc, 0.5)
    logit = np.log(known / (1 - known))
    spread = normal_quantile(level) * np.sqrt(variance) / (known * (1 - known))
    return (
        np.where(inside, np.minimum(low, _logistic(logit - spread)), low),
        np.where(inside, np.maximum(high, _logistic(logit + spread)), high),
    )


def delong(members: Values, non_members: Values) -> tuple[Values, Values]:
    """AUC and its variance of scores (..., m) against (..., n) (DeLong et al. 1988, by ranks as Sun and Xu 2014).

    The variance counts a set of a single record as if it did not vary.
    """
    from scipy.stats import rankdata

    m, n = members.shape[-1], non_members.shape[-1]
    ranks = rankdata(np.concatenate([members, non_members], axis=-1), axis=-1)
    above = (ranks[..., :m] - rankdata(members, axis=-1)) / n  # (..., m) share of non-members under each member
    below = 1 - (ranks[..., m:] - rankdata(non_members, axis=-1)) / m  # (..., n) share of members over each non-member
    variance = np.zeros(above.shape[:-1])
    for shares in (above, below):
        if shares.shape[-1] > 1:
            variance = variance + shares.var(axis=-1, ddof=1) / shares.shape[-1]
    return above.mean(axis=-1), variance


def newcombe(auc: Values, members: int, non_members: int, *, level: float = 0.95) -> tuple[Values, Values]:
    """Newcombe's score interval of AUCs (...) (Stat. Med. 2006, 25:559, method 5), which stays wide at 0 and 1."""
    typical = (members + non_members) / 2

    def outside(candidate: Values) -> NDArray[np.bool_]:
        spread = 1 + (typical - 1) * ((1 - candidate) / (2 - candidate) + candidate / (1 + candidate))
        variance = candidate * (1 - candidate) * spread / (members * non_members)
        return np.asarray((auc - candidate) ** 2 > normal_quantile(level) ** 2 * variance)

    def limit(end: float) -> Values:
        inner, outer = np.asarray(auc, np.float64), np.full(np.shape(auc), end)
        for _ in range(_HALVINGS):
            middle = (inner + outer) / 2
            beyond = outside(middle)
            inner, outer = np.where(beyond, inner, middle), np.where(beyond, middle, outer)
        return outer

    return limit(0.0), limit(1.0)


def binomial(auc: Values, members: int, non_members: int, *, level: float) -> tuple[Values, Values]:
    """Clopper and Pearson's exact limits of AUCs (...), a(1 - a) / min(m, n) being the most that any scores' AUC
    varies by (van Dantzig 1951): as if each record of the smaller set were one trial."""
    from scipy.special import betaincinv

    trials, tail = min(members, non_members), (1 - level) / 2
    won = np.asarray(auc * trials, np.float64)
    lost = trials - won
    # Without a single win, or loss, the limit is the corner itself, and the beta distribution is not defined.
    low = np.where(won > 0, betaincinv(np.where(won > 0, won, 1.0), lost + 1, tail), 0.0)
    high = np.where(lost > 0, betaincinv(won + 1, np.where(lost > 0, lost, 1.0), 1 - tail), 1.0)
    return low, high


def normal_quantile(level: float) -> float:
    """How many deviations to each side hold `level` of a normal distribution."""
    return NormalDist().inv_cdf((1 + level) / 2)


def _logistic(logit: Values) -> Values:
    return np.asarray(1 / (1 + np.exp(-logit)))
