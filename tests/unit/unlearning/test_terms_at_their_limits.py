"""Terms at the limits of floating point: certain and impossible tokens, long records, small β."""

import pytest
import torch
from pydantic import ValidationError

from core.lm.losses import record_sums, token_nll, token_soft_nll
from core.unlearning.objectives import METHODS, resolve
from core.unlearning.objectives.ce_u import skip_weights, without_the_true_token
from core.unlearning.objectives.npo import negative_preference
from core.unlearning.objectives.satimp import saturation_importance
from core.unlearning.objectives.simnpo import simple_negative_preference
from core.unlearning.objectives.token_npo import token_preference
from core.unlearning.objectives.undial import suppressed
from core.unlearning.objectives.weighted_ascent import weighted_ascent

ONE = torch.zeros(5, dtype=torch.long)
EXTREMES = [0.0, 1e-12, 1.0, 80.0, 1e5]
"""Token losses from p = 1 to p = 0 in any floating point."""


def gradient_and_values(term, losses):
    """d(sum of values) / d(losses), and the values."""
    leaf = losses.detach().clone().requires_grad_(True)
    values = term(leaf)
    (gradient,) = torch.autograd.grad(values.sum(), leaf)
    return gradient, values.detach()


TERMS = {
    "npo": lambda losses: negative_preference(losses, losses.detach().flip(0), ONE, 0.1),
    "npo, each token a record": lambda losses: negative_preference(
        losses, losses.detach().flip(0), torch.arange(5), 10.0
    ),
    "simnpo": lambda losses: simple_negative_preference(losses, torch.arange(5), 4.5, 0.0),
    "token_npo": lambda losses: token_preference(losses, losses.detach().flip(0), 4.0, 1.5),
    "token_npo, sharp": lambda losses: token_preference(losses, losses.detach().flip(0), 1000.0),
    "weighted_ascent": lambda losses: weighted_ascent(losses, 1.0),
    "satimp": lambda losses: saturation_importance(losses, 5.0, 1.0),
    "satimp, root": lambda losses: saturation_importance(losses, 0.0, 0.5),
}


@pytest.mark.parametrize("term", list(TERMS.values()), ids=list(TERMS))
def test_terms_and_gradients_are_finite_at_every_probability(term):
    for dtype in (torch.float32, torch.float64):
        gradient, values = gradient_and_values(term, torch.tensor(EXTREMES, dtype=dtype))
        assert values.isfinite().all()
        assert gradient.isfinite().all()
        assert values.dtype == dtype


def test_a_loss_rounded_below_zero_gives_no_root_of_a_negative_number():
    gradient, values = gradient_and_values(
        lambda losses: saturation_importance(losses, 5.0, 0.5), torch.tensor([-1e-7])
    )
    assert (gradient, values) == (0, 0)


@pytest.mark.parametrize("beta", [1e-6, 1e-3])
def test_npo_with_a_small_beta_ascends_on_the_records_nll(beta):
    losses = torch.tensor([0.1, 2.0, 3.0, 0.4], dtype=torch.float32)
    record = torch.tensor([0, 0, 0, 7])
    gradient, _ = gradient_and_values(lambda now: negative_preference(now, losses + 0.3, record, beta), losses)
    # -1 for each token of the record, at each of its rows: the mean over rows is then -1
    torch.testing.assert_close(gradient, torch.tensor([-3.0, -3.0, -3.0, -1.0]), rtol=2e-3, atol=0)


def test_a_long_record_keeps_its_digits_in_single_precision():
    """A hundred thousand tokens that hardly moved: in float32, a NLL of 200,000 has no digits for the difference."""
    rng = torch.Generator().manual_seed(3)
    original = 4 * torch.rand(100_000, generator=rng, dtype=torch.float32)
    losses = original + 1e-4 * torch.rand(100_000, generator=rng, dtype=torch.float32)
    record = torch.zeros(100_000, dtype=torch.long)
    value = negative_preference(losses, original, record, 0.1)[0]
    difference = (losses.double() - original.double()).sum()
    assert value.item() == pytest.approx((-20 * torch.nn.functional.logsigmoid(0.1 * difference)).item(), rel=1e-4)


def test_record_sums_do_not_depend_on_the_order_of_rows():
    values = torch.tensor([1.0, 2.0, 4.0, 8.0, 16.0])
    record = torch.tensor([5, 900, 5, 900, 3])
    assert record_sums(values, record).tolist() == [5, 10, 5, 10, 16]


def test_weights_are_without_gradient():
    losses = torch.tensor([0.2, 1.0, 3.0], dtype=torch.float64)
    for term in (
        lambda now: token_preference(now, losses + 0.5, 4.0, 1.5),
        lambda now: weighted_ascent(now, 1.0),
        lambda now: saturation_importance(now, 5.0, 1.0),
    ):
        gradient, values = gradient_and_values(term, losses)
        torch.testing.assert_close(gradient, values / losses, rtol=1e-12, atol=0)


def extreme_logits(dtype):
    """Logits whose true token (0) is certain, impossible, and neither."""
    logits = torch.tensor([[1e4, 0.0, 1.0], [-1e4, 0.0, 1.0], [0.5, 0.0, 1.0]], dtype=dtype)
    return logits.requires_grad_(True), torch.zeros(3, dtype=torch.long)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_ce_u_has_its_gradient_for_certain_and_impossible_tokens(dtype):
    logits, targets = extreme_logits(dtype)
    target = without_the_true_token(logits, targets)
    assert not target.requires_grad
    assert target.exp()[:, 0].tolist() == [0, 0, 0]
    torch.testing.assert_close(target.exp().sum(-1), torch.ones(3, dtype=dtype))
    values = token_soft_nll(target, logits)
    (gradient,) = torch.autograd.grad(values.sum(), logits)
    assert values.isfinite().all()
    torch.testing.assert_close(gradient, torch.softmax(logits.detach(), -1) - target.exp())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_undial_lowers_the_true_logit_only(dtype):
    logits, targets = extreme_logits(dtype)
    lowered = logits.detach().clone()
    lowered[:, 0] -= 10
    for given in (logits.detach(), torch.log_softmax(logits.detach(), -1)):
        target = suppressed(given, targets, 10.0)
        torch.testing.assert_close(target, torch.log_softmax(lowered, -1))
    assert token_soft_nll(suppressed(logits.detach(), targets, 10.0), logits).isfinite().all()
    assert token_nll(suppressed(logits.detach(), targets, 10.0), targets)[2] > 9


def test_skipped_tokens_weigh_nothing_and_the_rest_weighs_more():
    record = torch.tensor([0, 0, 0, 0, 1, 1, 2])
    assert skip_weights(record, 1).tolist() == [0, 4 / 3, 4 / 3, 4 / 3, 0, 2, 1]
    assert skip_weights(record, 9).tolist() == [0, 0, 0, 4, 0, 2, 1], "a record's last token is never skipped"
    assert skip_weights(record, 0).tolist() == [1] * 7


DEFAULTS = {
    "npo": {"beta": 0.1, "forget_weight": 1, "retain_weight": 1, "retain_term": "descent"},
    "simnpo": {"beta": 4.5, "delta": 0, "forget_weight": 0.125, "retain_term": "descent"},
    "token_npo": {"beta": 4, "alpha": 1.5, "weighted": False, "retain_term": "descent"},
    "undial": {"beta": 10, "retain_term": "descent"},
    "weighted_ascent": {"beta": 1, "retain_term": "descent"},
    "satimp": {"beta1": 5, "beta2": 1, "forget_weight": 0.1, "retain_term": "descent"},
    "ce_u": {"skip": 1, "retain_term": "descent"},
}


@pytest.mark.parametrize(("name", "defaults"), DEFAULTS.items())
def test_defaults_are_those_of_the_papers(name, defaults):
    parameters = resolve(name, {}).model_dump()
    assert {key: parameters[key] for key in defaults} == defaults


def test_undial_has_its_own_learning_rate_for_large_models():
    assert METHODS["undial"].large.learning_rate == 1e-4


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("npo", {"beta": 0}),
        ("simnpo", {"beta": -1}),
        ("simnpo", {"delta": float("nan")}),
        ("token_npo", {"beta": 0}),
        ("token_npo", {"alpha": -0.1}),
        ("undial", {"beta": 0}),
        ("weighted_ascent", {"beta": -1}),
        ("satimp", {"beta1": -1}),
        ("satimp", {"beta2": 1e9}),
        ("ce_u", {"skip": -1}),
        ("ce_u", {"skip": 0.5}),
    ],
)
def test_a_parameter_out_of_bounds_is_refused(name, parameters):
    with pytest.raises(ValidationError) as caught:
        resolve(name, parameters)
    assert caught.value.errors()[0]["loc"] == tuple(parameters)
