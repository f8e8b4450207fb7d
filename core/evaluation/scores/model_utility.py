"""Model utility: the harmonic mean of scores of several groups of probes."""

from collections.abc import Mapping

import numpy as np

from core.evaluation.stats.bootstrap import SHARE, Resamples, Values, interval, rows_at_once
from core.evaluation.stats.student_t import student_factor
from core.schema.evaluation import Figure

Part = tuple[Values, Values]
"""Values of a group's records, (n,) and not negative, and their weights; a part of the utility is their mean."""


def harmonic_mean(means: Values) -> Values:
    """The harmonic mean over the last axis, (..., k) -> (...); 0 where one of the k values is 0."""
    with np.errstate(divide="ignore"):
        mean: Values = means.shape[-1] / (1 / means).sum(-1)
    return mean


def model_utility(groups: Mapping[str, Mapping[str, Part]], resamples: Resamples) -> Figure:
    """The harmonic mean of all parts of all groups, with an interval.

    Records are resampled within each group; the interval is then widened as Student's would be for as many records as
    the smallest group has. A part that has no record in a resample keeps its value. Raises ValueError without any part.
    """
    part_means: list[float] = []
    resampled: list[Values] = []  # (R,) each
    sizes: list[int] = []
    for name, parts in groups.items():
        values = np.stack([value * weight for value, weight in parts.values()], axis=1)  # (n, k)
        weights = np.stack([weight for _, weight in parts.values()], axis=1)  # (n, k)
        means = values.sum(0) / weights.sum(0)
        part_means += list(means)
        sizes.append(len(values))
        own = Resamples(resamples.seed, f"{resamples.name} {name}", resamples.count)
        blocks = []
        for counts in own.blocks(len(values), rows=rows_at_once(len(values))):
            drawn = counts @ weights  # (B, k)
            blocks.append(np.where(drawn > 0, (counts @ values) / np.where(drawn > 0, drawn, 1.0), means))
        resampled += list(np.concatenate(blocks).T)
    if not part_means:
        raise ValueError("a mean of no parts")
    value = float(harmonic_mean(np.array(part_means)))
    low = high = None
    if several := [size for size in sizes if size > 1]:
        times = student_factor(min(several))
        ends = np.array(interval(harmonic_mean(np.stack(resampled, axis=1))))
        low, high = (float(end) for end in np.clip(value + times * (ends - value), *SHARE))
    return Figure(value=value, low=low, high=high, records=sum(sizes))
