import pytest
import torch
from pydantic import ValidationError

from core.unlearning.objectives import resolve
from core.unlearning.objectives.pdu import LagrangeMultiplier, logit_margin
from tests.unit.unlearning.run import plain_training, run


def test_the_margin_is_squared_and_has_its_gradient():
    logits = torch.randn(3, 5, dtype=torch.float64, requires_grad=True)
    found = logit_margin(logits)
    wanted = [(max(row) - sum(row) / 5) ** 2 for row in logits.unbind()]
    torch.testing.assert_close(found, torch.stack(wanted))
    (slope,) = torch.autograd.grad(found.sum(), logits, retain_graph=True)
    torch.testing.assert_close(slope, torch.autograd.grad(sum(wanted), logits)[0])
    flat = torch.full((1, 5), 7.0, requires_grad=True)
    assert logit_margin(flat).item() == 0
    assert torch.autograd.grad(logit_margin(flat).sum(), flat)[0].abs().max() == 0


def followed(losses, **changes):
    """The weight at each update, and the one after the last."""
    one = LagrangeMultiplier(**{"start": 1.0, "rate": 0.5, "bound": 2.0, "warmup": 0.2} | changes)
    weights = []
    for step, loss in enumerate(losses):
        weights.append(one.weight(step, len(losses)))
        one.observe(step, len(losses), {"forget": 9.0, "retain": loss})
    return [*weights, one.weight(len(losses), len(losses))]


def test_the_multiplier_stands_through_the_warm_up_then_follows_the_constraint():
    assert followed([3.0] * 5) == [1, 1, 1.5, 2, 2.5, 3]
    assert followed([3.0] * 5, warmup=0.0) == [1, 1.5, 2, 2.5, 3, 3.5]
    assert followed([3.0] * 5, warmup=0.21) == [1, 1, 1, 1.5, 2, 2.5]
    assert followed([3.0] * 5, warmup=1.0) == [1] * 6


def test_the_multiplier_never_falls_below_nothing_and_rises_again():
    assert followed([0.0, 0.0, 0.0, 4.0], warmup=0.0) == [1, 0, 0, 0, 1]


def test_a_multiplier_goes_on_from_what_it_was():
    one = LagrangeMultiplier(start=1.0, rate=0.5, bound=2.0, warmup=0.0)
    one.observe(0, 9, {"retain": 5.0})
    other = LagrangeMultiplier(start=1.0, rate=0.5, bound=77.0, warmup=0.0)
    other.restore(one.state())
    for _ in range(2):
        assert other.weight(1, 9) == one.weight(1, 9) == 2.5
        assert other.state() == one.state()
        one.observe(1, 9, {"retain": 2.0})
        other.observe(1, 9, {"retain": 2.0})


def test_a_multiplier_of_nothing_still_hears_of_the_retain_loss():
    events = []
    run("pdu", {"dual_start": 0.0, "dual_warmup": 0.0}, training=plain_training(epochs=3), events=events)
    retained = [event.values["retain_loss"] for event in events if event.kind == "curve"]
    assert len(retained) == 3
    assert all(loss > 0 for loss in retained)


def test_there_is_no_constraint_without_a_retain_term():
    for parameters in ({"retain_term": "none"}, {"retain_term": "kl"}, {"retain_weight": 0}, {"dual_rate": -1}):
        with pytest.raises(ValidationError):
            resolve("pdu", parameters)
    assert resolve("pdu", {}).needs() == {"forget", "retain", "original"}
    found = resolve("pdu", {})
    assert (found.dual_start, found.dual_rate, found.dual_warmup) == (1, 1, 0.1)
    assert (found.retain_bound, found.retain_slack) == (None, 0.1)
