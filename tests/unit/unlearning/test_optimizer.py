import copy

import pytest
import torch
from torch import nn

from core.lm.errors import CoreError
from core.unlearning import optimizer
from core.unlearning.bfloat16_optimizers import StochasticRoundingOptimizer, round_stochastically
from tests.unit.unlearning.run import plain_training


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("value", [1.001, -1.001, 3e-5, -0.7134, 1e-39])
def test_stochastic_rounding_gives_the_two_neighbours_and_the_right_mean(value):
    exact = torch.full((200_000,), value)
    rounded = round_stochastically(exact, generator())
    assert rounded.dtype == torch.bfloat16
    neighbours = rounded.unique().double()
    assert len(neighbours) == 2
    assert neighbours[0] < exact[0] < neighbours[1]
    gap = float(neighbours[1] - neighbours[0])
    # the mean of 200,000 draws of two values strays by less than gap / 2 / sqrt(200,000), times 5
    assert abs(float(rounded.double().mean() - exact[0].double())) < 5 * gap / 2 / 200_000**0.5


def test_exact_and_non_finite_values_are_not_rounded():
    values = torch.tensor([1.0, -2.5, 0.0, float("inf"), float("-inf")])
    assert round_stochastically(values, generator()).float().equal(values)
    assert round_stochastically(torch.tensor([float("nan")]), generator()).isnan().all()


def run(optimizer, weights, steps, *, seed=0):
    rng = generator(seed)
    for _ in range(steps):
        for weight in weights:
            weight.grad = torch.randn(weight.shape, generator=rng).to(weight.dtype)
        optimizer.step()


@pytest.mark.parametrize("kind", ["adamw", "sgd"])
def test_float32_weights_get_the_updates_of_the_plain_optimiser(kind):
    start = [torch.randn(5, 7, generator=generator(1)), torch.randn(3, generator=generator(2))]
    ours, theirs = ([nn.Parameter(weight.clone()) for weight in start] for _ in range(2))
    training = plain_training(optimizer=kind, learning_rate=1e-2, weight_decay=0.1)
    plain = optimizer.make_optimizer(theirs, training)
    run(plain, theirs, 5)
    run(StochasticRoundingOptimizer(ours, lr=1e-2, weight_decay=0.1, seed=0, adam=kind == "adamw"), ours, 5)
    for our_weight, their_weight in zip(ours, theirs, strict=True):
        torch.testing.assert_close(our_weight, their_weight, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", ["adamw", "sgd"])
def test_updates_too_small_for_bfloat16_add_up(kind):
    """Each update is a fiftieth of a step of bfloat16: rounded to the nearest, no weight would ever move."""
    weight = nn.Parameter(torch.ones(4000, dtype=torch.bfloat16))
    rounding = optimizer.make_optimizer([weight], plain_training(optimizer=kind, learning_rate=1e-4))
    assert isinstance(rounding, StochasticRoundingOptimizer)
    for _ in range(40):
        weight.grad = torch.ones_like(weight)
        rounding.step()
    assert float(weight.detach().double().mean()) == pytest.approx(1 - 40 * 1e-4, abs=3e-4)
    assert {state.dtype for state in rounding.state[weight].values() if isinstance(state, torch.Tensor)} <= {
        torch.bfloat16
    }


def bfloat16(seed):
    return nn.Parameter(torch.randn(300, generator=generator(seed)).bfloat16())


def test_the_rounding_depends_on_seed_and_step_so_that_a_job_can_resume():
    def make(weight, seed=3):
        return StochasticRoundingOptimizer([weight], lr=1e-3, weight_decay=0, seed=seed)

    whole, resumed, other = bfloat16(1), bfloat16(1), bfloat16(1)
    run(make(whole), [whole], 2)
    first = make(resumed)
    run(first, [resumed], 2)
    kept = copy.deepcopy(first.state_dict())
    assert whole.equal(resumed)
    second = make(resumed)
    second.load_state_dict(kept)
    run(second, [resumed], 2, seed=9)
    undisturbed = bfloat16(1)
    straight = make(undisturbed)
    run(straight, [undisturbed], 2)
    run(straight, [undisturbed], 2, seed=9)
    assert resumed.equal(undisturbed)
    run(make(other, seed=4), [other], 2)
    assert not other.equal(whole)


def test_the_rate_is_set_for_plain_and_for_compiled_optimisers():
    weight = nn.Parameter(torch.ones(3))
    plain = torch.optim.SGD([weight], lr=1.0)
    compiled = torch.optim.SGD([weight], lr=torch.tensor(1.0))
    rate = compiled.param_groups[0]["lr"]
    for each in (plain, compiled):
        optimizer.set_learning_rate(each, 0.25)
        assert float(each.param_groups[0]["lr"]) == 0.25
    assert compiled.param_groups[0]["lr"] is rate


def test_the_eight_bit_optimiser_without_torchao_is_refused_by_name(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "torchao.optim", None)
    with pytest.raises(CoreError, match=r"optimizer_unavailable.*torchao"):
        optimizer.require_optimizer(plain_training(optimizer="adamw8bit"), torch.device("cpu"))
