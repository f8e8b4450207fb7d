"""What a method computes does not change unless somebody means it to."""

import json

import pytest

from core.unlearning.objectives import METHODS
from tests.unit.unlearning.golden import FILE, STEPS, losses

GOLDEN = json.loads(FILE.read_text())


@pytest.mark.parametrize("method", list(METHODS))
def test_twenty_updates_lose_what_they_lost_before(method):
    if method not in GOLDEN:
        pytest.fail(f"{method} has no golden losses yet: python -m tests.unit.unlearning.golden adds them")
    found = losses(method)
    assert len(found) == STEPS
    assert len(set(found)) == STEPS, "the model learns"
    # transformers' Llama normalises in float32, which another machine may round otherwise
    assert found == pytest.approx(GOLDEN[method], rel=2e-4, abs=2e-4)


def test_nothing_is_kept_of_a_method_that_is_gone():
    assert set(GOLDEN) <= set(METHODS)
