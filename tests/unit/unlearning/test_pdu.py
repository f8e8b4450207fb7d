import pytest
import torch
from pydantic import ValidationError

from core.unlearning.objectives import resolve
from core.unlearning.objectives.pdu import LagrangeMultiplier, logit_margin
from tests.unit.unlearning.run import plain_training, run


def test_the_logit_margin_has_the_value_and_gradient_of_its_formula():
    logits = torch.randn(3, 5, dtype=torch.float64, requires_grad=True)
    margins = logit_margin(logits)
    naive = [(max(row) - sum(row) / 5) ** 2 for row in logits.unbind()]
    torch.testing.assert_close(margins, torch.stack(naive))
    (gradient,) = torch.autograd.grad(margins.sum(), logits, retain_graph=True)
    torch.testing.assert_close(gradient, torch.autograd.grad(sum(naive), logits)[0])
    flat = torch.full((1, 5), 7.0, requires_grad=True)
    assert logit_margin(flat).item() == 0
    assert torch.autograd.grad(logit_margin(flat).sum(), flat)[0].abs().max() == 0


def multiplier_weights(losses, **changes):
    """The weight at each update, and after the last."""
    multiplier = LagrangeMultiplier(**{"start": 1.0, "rate": 0.5, "bound": 2.0, "warmup": 0.2} | changes)
    weights = []
    for step, loss in enumerate(losses):
        weights.append(multiplier.weight(step, len(losses)))
        multiplier.observe(step, len(losses), {"forget": 9.0, "retain": loss})
    return [*weights, multiplier.weight(len(losses), len(losses))]


def test_the_multiplier_is_constant_in_the_warm_up_then_follows_the_constraint():
    assert multiplier_weights([3.0] * 5) == [1, 1, 1.5, 2, 2.5, 3]
    assert multiplier_weights([3.0] * 5, warmup=0.0) == [1, 1.5, 2, 2.5, 3, 3.5]
    assert multiplier_weights([3.0] * 5, warmup=0.21) == [1, 1, 1, 1.5, 2, 2.5]
    assert multiplier_weights([3.0] * 5, warmup=1.0) == [1] * 6


def test_the_multiplier_is_never_negative_and_rises_again():
    assert multiplier_weights([0.0, 0.0, 0.0, 4.0], warmup=0.0) == [1, 0, 0, 0, 1]


def test_a_restored_multiplier_continues():
    multiplier = LagrangeMultiplier(start=1.0, rate=0.5, bound=2.0, warmup=0.0)
    multiplier.observe(0, 9, {"retain": 5.0})
    other = LagrangeMultiplier(start=1.0, rate=0.5, bound=77.0, warmup=0.0)
    other.restore(multiplier.state())
    for _ in range(2):
        assert other.weight(1, 9) == multiplier.weight(1, 9) == 2.5
        assert other.state() == multiplier.state()
        multiplier.observe(1, 9, {"retain": 2.0})
        other.observe(1, 9, {"retain": 2.0})


def test_a_multiplier_of_0_still_observes_the_retain_loss():
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
    method = resolve("pdu", {})
    assert (method.dual_start, method.dual_rate, method.dual_warmup) == (1, 1, 0.1)
    assert (method.retain_bound, method.retain_slack) == (None, 0.1)
