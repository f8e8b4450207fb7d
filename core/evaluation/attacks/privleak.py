"""How far an attack's success is from what it would be on a model that never saw the forget set."""

import numpy as np

from core.evaluation.attacks.membership import auc
from core.evaluation.stats.auc import FEW
from core.evaluation.stats.bootstrap import Resamples, Values, interval
from core.schema.evaluation import Figure

CHANCE = 0.5

OF_CHANCE = f"AUC_ref: {CHANCE}, for want of a retrained model"
OF_RETRAINED = "AUC_ref: the retrained model's own"

Scores = tuple[Values, Values]
"""Of members (m,) and of others (n,)."""


def privleak(scores: Scores, retrained: Scores | None, resamples: Resamples) -> Figure | None:
    """100·((1 - AUC) - (1 - AUC_ref)) / (1 - AUC_ref) (Shi et al. 2024, MUSE), signed; None where AUC_ref is 1.

    `retrained` holds the retrained model's scores of the same records. Without it, AUC_ref is 0.5, a yardstick that
    does not vary, and the interval is the AUC's own, sent through the formula.
    With it, the interval takes both AUCs from the same resamples: records that make the attack easy or hard move both,
    and the interval holds the noise of the retrained model's figures too. It does not hold the noise between
    retrainings from different seeds: that would need several retrained models. Under `FEW` records it also holds the
    AUC's interval at AUC_ref as found.
    There is no interval where so many resamples have an AUC_ref of 1 that it would have no end.
    """
    figure, resampled = auc(*scores, resamples)
    against, resampled_against = CHANCE, None
    if retrained is not None:
        of_retrained, resampled_against = auc(*retrained, resamples)
        against = of_retrained.value
    if against == 1:
        return None
    ends = np.array([figure.value, figure.high, figure.low], np.float64)
    value, low, high = map(float, _privleak(ends, np.full(3, against)))
    if resampled_against is not None:
        defined = resampled_against < 1
        leaks = np.where(defined, _privleak(resampled, np.where(defined, resampled_against, CHANCE)), np.inf)
        with np.errstate(invalid="ignore"):
            paired = interval(leaks)
        if not np.isfinite(paired).all():
            return Figure(value=value, low=None, high=None, records=figure.records)
        few = min(map(len, scores)) < FEW
        low, high = (min(low, paired[0]), max(high, paired[1])) if few else paired
    return Figure(value=value, low=low, high=high, records=figure.records)


def _privleak(auc: Values, against: Values) -> Values:
    return 100 * ((1 - auc) - (1 - against)) / (1 - against)
