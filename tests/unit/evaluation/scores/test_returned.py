"""When a record counts as having come back."""

import math

import numpy as np
import pytest

from core.evaluation.scores.returned import have_returned

UNSEEN = 3.0
GONE = (3.1, 0.0)
"""Loss and extraction strength of a record that is forgotten."""


@pytest.mark.parametrize(
    ("then", "now", "unseen", "returned"),
    [
        (GONE, GONE, UNSEEN, False),
        (GONE, (3.0, 0.3), UNSEEN, False),
        (GONE, (3.0, 0.31), UNSEEN, True),
        (GONE, (3.0, 0.31), None, True),
        (GONE, (2.2, 0.0), UNSEEN, True),  # half the perplexity, of then and of unseen text
        (GONE, (2.2, 0.0), None, False),
        (GONE, (2.5, 0.0), UNSEEN, False),
        ((9.0, 0.0), (2.9, 0.0), UNSEEN, False),  # was made most improbable, and is like any unseen text now
        ((2.0, 0.0), (1.9, 0.0), UNSEEN, False),  # was that easy just after the earlier job
        ((math.nan, math.nan), (0.1, 0.5), UNSEEN, False),
        ((math.nan, math.nan), (3.0, 0.51), UNSEEN, True),
    ],
)
def test_a_record_has_come_back_if_it_can_be_extracted_or_is_far_more_probable_than_then_and_than_unseen_text(
    then: tuple[float, float], now: tuple[float, float], unseen: float | None, returned: bool
) -> None:
    loss, extraction = np.array([then, now]).T[:, :, None]
    assert have_returned(loss, extraction, unseen).tolist() == [returned]
