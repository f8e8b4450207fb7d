"""PrivLeak: how far an attack's AUC is from its AUC on a model that never saw the forget set."""

import numpy as np

from core.evaluation.attacks.membership import bootstrap_auc
from core.evaluation.stats.auc import FEW
from core.evaluation.stats.bootstrap import Resamples, Values, interval
from core.schema.evaluation import Figure

CHANCE = 0.5

CHANCE_NOTE = f"AUC_ref: {CHANCE}, for want of a retrained model"
RETRAINED_NOTE = "AUC_ref: the retrained model's own"

Scores = tuple[Values, Values]
"""Scores of members (m,) and of non-members (n,)."""


def privleak(scores: Scores, retrained: Scores | None, resamples: Resamples) -> Figure | None:
    """100·((1 - AUC) - (1 - AUC_ref)) / (1 - AUC_ref) (Shi et al. 2024, MUSE), signed; None where AUC_ref is 1.

    `retrained` holds the retrained model's scores of the same records. Without it AUC_ref is 0.5, a constant, and the
    interval is the AUC's own, transformed by the formula.
    With it the interval takes both AUCs from the same resamples: records that make the attack easy or hard move both.
    It holds the noise of the retrained model's figures too, but not the noise between retrainings from different seeds,
    which would take several retrained models. Under `FEW` records it also holds the AUC's interval at the measured
    AUC_ref. There is no interval where so many resamples have an AUC_ref of 1 that it would have no end.
    """
    figure, resampled = bootstrap_auc(*scores, resamples)
    auc_ref, resampled_ref = CHANCE, None
    if retrained is not None:
        retrained_figure, resampled_ref = bootstrap_auc(*retrained, resamples)
        auc_ref = retrained_figure.value
    if auc_ref == 1:
        return None
    ends = np.array([figure.value, figure.high, figure.low], np.float64)
    value, low, high = map(float, _privleak(ends, np.full(3, auc_ref)))
    if resampled_ref is not None:
        defined = resampled_ref < 1
        leaks = np.where(defined, _privleak(resampled, np.where(defined, resampled_ref, CHANCE)), np.inf)
        with np.errstate(invalid="ignore"):
            paired = interval(leaks)
        if not np.isfinite(paired).all():
            return Figure(value=value, low=None, high=None, records=figure.records)
        few = min(map(len, scores)) < FEW
        low, high = (min(low, paired[0]), max(high, paired[1])) if few else paired
    return Figure(value=value, low=low, high=high, records=figure.records)


def _privleak(auc: Values, auc_ref: Values) -> Values:
    return 100 * ((1 - auc) - (1 - auc_ref)) / (1 - auc_ref)
