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
    assert have_returned(loss, extraction, np.array([100]), unseen).tolist() == [returned]


@pytest.mark.parametrize(
    ("tokens", "then", "now", "returned"),
    [
        (3, GONE, (3.0, 1 / 3), False),  # the last of three tokens alone
        (1, GONE, (1.0, 1.0), False),  # a one-token answer, 8 times as probable
        (1, (6.1, 0.0), (0.1, 1.0), True),  # a one-token answer, 400 times as probable
        (3, GONE, (1.0, 1.0), True),  # each token 8 times as probable
        (12, GONE, (3.0, 4 / 12), False),
        (12, GONE, (3.0, 5 / 12), True),
        (13, (3.1, 1 / 13), (3.0, 6 / 13), True),
        (4, (math.nan, math.nan), (0.1, 1.0), False),
        (5, (math.nan, math.nan), (0.1, 1.0), True),
    ],
)
def test_so_few_tokens_that_chance_explains_them_do_not_count(
    tokens: int, then: tuple[float, float], now: tuple[float, float], returned: bool
) -> None:
    loss, extraction = np.array([then, now]).T[:, :, None]
    assert have_returned(loss, extraction, np.array([tokens]), UNSEEN).tolist() == [returned]
