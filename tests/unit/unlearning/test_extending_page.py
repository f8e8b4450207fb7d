"""The example of docs/extending.md becomes a method, and computes the formula that the page states."""

import re
from pathlib import Path

import pytest
import torch

from core.unlearning import objectives
from tests.unit.lm.tiny import tiny_model
from tests.unit.unlearning.run import RATE, example_sets, plain_training, run, weights
from tests.unit.unlearning.test_formulas import cross_entropy, log_p, mean, tokens

PAGE = Path(__file__).parents[3] / "docs" / "extending.md"
CAP = 3.0


@pytest.fixture
def example(tmp_path, monkeypatch):
    """The name of the page's method, once the catalogue has discovered it."""
    text = PAGE.read_text()
    file = re.search(r"Write `core/unlearning/objectives/(\w+\.py)`", text)[1]
    (tmp_path / file).write_text(re.search(r"```python\n(.*?)```", text, re.DOTALL)[1])
    monkeypatch.setattr(objectives, "__path__", [*objectives.__path__, str(tmp_path)])
    methods = objectives._discovered()
    (name,) = set(methods) - set(objectives.METHODS)
    monkeypatch.setitem(objectives.METHODS, name, methods[name])
    return name


def test_the_pages_example_is_described_like_any_method(example):
    described = objectives.describe(example)
    assert described["parameters"]["properties"]["cap"]["description"]
    assert described["needs"] == ["forget", "retain"]
    assert f"--method {example}" in PAGE.read_text()


def test_the_pages_example_computes_the_formula_that_it_states(example):
    sets, twin = example_sets(), tiny_model()
    parameters = {"cap": CAP, "retain_ratio": 100.0}
    trained, _ = run(example, parameters, training=plain_training(epochs=1), sets=sets)

    def capped_loss(ids, first):
        rows = log_p(twin, ids, first)
        losses = [-rows[place, token] for place, token in enumerate(ids[first:].tolist())]
        assert any(loss > CAP for loss in losses)
        return mean(loss if loss < CAP else torch.full_like(loss, CAP) for loss in losses)

    retained = [mean(cross_entropy(twin, *record) for record in tokens(retain.records)) for retain in sets.retain]
    shares = [retain.weight / sum(other.weight for other in sets.retain) for retain in sets.retain]
    loss = -mean(capped_loss(*record) for record in tokens(sets.forget))
    loss = loss + sum(share * retain_loss for share, retain_loss in zip(shares, retained, strict=True))
    loss.backward()
    for after, weight in zip(weights(trained), twin.parameters(), strict=True):
        torch.testing.assert_close(after, weight.detach() - RATE * weight.grad, rtol=1e-6, atol=1e-7)
