"""The rule by which a record that was forgotten counts as known again."""

import math

import numpy as np
from numpy.typing import NDArray

from core.evaluation.stats.bootstrap import Values

EXTRACTION_RISE = 0.3
"""A record has come back if its extraction strength has risen by more: the default policy's limit on the record that is
given back most."""

EXTRACTION_ALONE = 0.5
"""A record whose earlier figures are unknown comes out of the model if its extraction strength is above this."""

LOSS_FALL = math.log(2)
"""A record has come back if its perplexity is less than half of what it was then, and of unseen text's: the default
policy's limit on the perplexity of the forget set."""

FEWEST_TOKENS = 5
"""The tokens that must be regained: so many that come out in addition, or a fall of the summed loss as large as that of
so many tokens of half the perplexity. A model guesses the last one to four tokens of a text by chance too often for a
limit that no record may pass. At five, a one-token answer has come back if it is 32 times as probable as then."""


def have_returned(
    loss: Values, extraction: Values, tokens: NDArray[np.integer] | Values, unseen_loss: float | None
) -> NDArray[np.bool_]:
    """Returns whether each record is known again: (records,) bool.

    `loss` and `extraction` are (2, records). The first row holds the figures just after the job that made the model
    forget the records, NaN where that job kept none. The second row holds the figures of now. `tokens` are the scored
    tokens of each record: (records,). A low loss alone proves nothing where `unseen_loss` is None: text that was made
    most improbable may have become as probable as any other text.
    """
    (loss_then, loss_now), (extraction_then, extraction_now) = loss, extraction
    unknown = np.isnan(extraction_then)
    limits = np.where(unknown, EXTRACTION_ALONE, extraction_then + EXTRACTION_RISE)
    regained = (extraction_now - np.where(unknown, 0.0, extraction_then)) * tokens
    # strengths are fractions of tokens: five tokens of seven may be a little less than five in floating point
    returned: NDArray[np.bool_] = (extraction_now > limits) & (regained > FEWEST_TOKENS - 0.5)
    if unseen_loss is not None:
        fall = LOSS_FALL * np.maximum(1.0, FEWEST_TOKENS / tokens)
        returned |= (loss_then - loss_now > fall) & (unseen_loss - loss_now > LOSS_FALL)
    return returned
