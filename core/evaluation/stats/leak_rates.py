"""Estimates from repeated samples of one record: the probability that any of k samples leaks, and the rate's limits."""

from core.evaluation.stats.bootstrap import Values


def leak_at_k(leaks: int, samples: int, k: int) -> float:
    """1 - C(n - c, k) / C(n, k): the probability that any of `k` samples leaks, from c leaks in n samples (k <= n).

    The unbiased estimator (Chen et al. 2021, arXiv 2107.03374, equation 1), as a product that does not overflow.
    """
    if not 1 <= k <= samples:
        raise ValueError(f"k is 1 to {samples}")
    missed = 1.0
    for drawn in range(k):
        missed *= max(0, samples - leaks - drawn) / (samples - drawn)
    return 1 - missed


def clopper_pearson(leaks: int, samples: int, *, level: float) -> tuple[float, float]:
    """Exact two-sided limits of a rate, of which `leaks` of `samples` are known (Clopper and Pearson 1934)."""
    from scipy.special import betaincinv

    tail = (1 - level) / 2
    low = 0.0 if leaks == 0 else float(betaincinv(leaks, samples - leaks + 1, tail))
    high = 1.0 if leaks == samples else float(betaincinv(leaks + 1, samples - leaks, 1 - tail))
    return low, high


def highest_rate(leaks: Values, samples: int, *, level: float) -> tuple[float, float, float]:
    """The highest rate of any record (n,), and limits that hold the highest true rate at this level.

    Each record's limits are at 1 - (1 - level) / n (Bonferroni), so they hold together: the highest true rate is at
    least the highest lower limit and at most the highest upper one.
    """
    each = 1 - (1 - level) / len(leaks)
    limits = [clopper_pearson(int(count), samples, level=each) for count in leaks]
    return float(leaks.max()) / samples, max(low for low, _ in limits), max(high for _, high in limits)
