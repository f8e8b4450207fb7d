"""Records that have come back: a model knows them again that had forgotten them."""

import math

import numpy as np
from numpy.typing import NDArray

from core.evaluation.stats.bootstrap import Values

EXTRACTION_RISE = 0.3
"""A record has come back if its extraction strength has risen by more: the default policy's limit on the record that is
given back most."""

EXTRACTION_ALONE = 0.5
"""A record has come back if its extraction strength is above this, where nothing is known of it from then."""

LOSS_FALL = math.log(2)
"""A record has come back if its perplexity is less than half of what it was then, and of unseen text's: the default
policy's limit on the perplexity of the forget set."""


def have_returned(loss: Values, extraction: Values, unseen_loss: float | None) -> NDArray[np.bool_]:
    """Whether each record has come back: (records,) bool.

    `loss` and `extraction` are (2, records): just after the job that made the model forget them (NaN where it kept
    nothing), and now. Without the loss of unseen text, losses tell nothing: text that was made most improbable may have
    become as probable as any other text.
    """
    (loss_then, loss_now), (extraction_then, extraction_now) = loss, extraction
    unknown = np.isnan(extraction_then)
    limits = np.where(unknown, EXTRACTION_ALONE, extraction_then + EXTRACTION_RISE)
    returned: NDArray[np.bool_] = extraction_now > limits
    if unseen_loss is not None:
        returned |= (loss_then - loss_now > LOSS_FALL) & (unseen_loss - loss_now > LOSS_FALL)
    return returned
