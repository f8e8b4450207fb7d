"""Methods compute the golden losses: what they compute does not change by accident."""

import json

import pytest

from core.unlearning.objectives import METHODS
from tests.unit.unlearning.golden import FILE, STEPS, losses

GOLDEN = json.loads(FILE.read_text())


@pytest.mark.parametrize("method", list(METHODS))
def test_twenty_updates_have_the_golden_losses(method):
    if method not in GOLDEN:
        pytest.fail(f"{method} has no golden losses yet: python -m tests.unit.unlearning.golden adds them")
    values = losses(method)
    assert len(values) == STEPS
    assert len(set(values)) == STEPS, "the model learns"
    # transformers' Llama normalises in float32, which other machines may round differently
    assert values == pytest.approx(GOLDEN[method], rel=2e-4, abs=2e-4)


def test_no_golden_losses_of_removed_methods():
    assert set(GOLDEN) <= set(METHODS)
