"""The number of epochs, and of records in one update, fitted to the number of forget records."""

import math

from core.schema.strict import Strict
from core.unlearning.schedule import steps_per_epoch

SMALL_PARAMETERS = 2e7
"""The most weights of a small model."""
FEWEST_TUNED_UPDATES = 20
"""Updates that a tuned training may take at least. It stops by itself; ten would be few for a single record."""
MANY_TUNED_UPDATES = 80
"""Updates that a tuned training of a model of more than 20 million weights takes by steps of fewer records, within the
recipe's epochs. What the first updates harm, later ones repair: by 20 updates of twelve records, a model of 135 million
weights came to a forget perplexity of 2.9, by 80 of three to 5.1, with the same harm to the text to keep."""
MOST_TUNED_EPOCHS = 18
"""Epochs of such a training at most: its steps take so few records that further epochs cost more than they bring."""


class Steps(Strict):
    """The passes over the forget set, and the forget records in one update."""

    epochs: int
    records_per_step: int


def fit_steps(
    recipe: Steps,
    *,
    epochs: int | None,
    records_per_step: int | None,
    tuned: bool,
    parameters: int,
    forget_records: int,
) -> Steps:
    """Returns the recipe's steps for so many forget records and a model of `parameters` weights.

    `epochs` and `records_per_step` are the request's, which are kept. None: the request leaves them out.
    """
    fitted = Steps(
        epochs=recipe.epochs if epochs is None else epochs,
        records_per_step=max(1, min(recipe.records_per_step, forget_records))
        if records_per_step is None
        else records_per_step,
    )
    if not tuned or epochs is not None:
        return fitted
    if records_per_step is None and parameters > SMALL_PARAMETERS:
        fitted.epochs = min(fitted.epochs, MOST_TUNED_EPOCHS)
        most = forget_records * fitted.epochs // MANY_TUNED_UPDATES
        fitted.records_per_step = max(1, min(fitted.records_per_step, most))
    per_epoch = steps_per_epoch(max(1, forget_records), fitted.records_per_step)
    fitted.epochs = max(fitted.epochs, math.ceil(FEWEST_TUNED_UPDATES / per_epoch))
    return fitted
