"""The mean of the retain terms' gradient, and forget gradients without their component against it."""

import pytest
import torch
from torch import nn

from core.unlearning.retain_gradient import RetainGradient


def follow(*gradients, dtype=torch.float64):
    weight = nn.Parameter(torch.zeros(2, dtype=dtype))
    retain = RetainGradient({"w": weight})
    for gradient in gradients:
        weight.grad = None if gradient is None else torch.tensor(gradient, dtype=dtype)
        retain.observe()
    return retain


def projected(retain, *gradient, dtype=torch.float64):
    return retain.project("w", torch.tensor(gradient, dtype=dtype)).tolist()


def test_the_mean_forgets_a_tenth_an_update():
    retain = follow([1.0, 0.0], [0.0, 2.0], None)
    assert retain.mean["w"].tolist() == pytest.approx([0.1 * 0.9 * 0.9, 0.2 * 0.9])


def test_the_component_against_the_mean_is_removed():
    retain = follow([2.0, 0.0])
    assert projected(retain, -3.0, 5.0) == [0.0, 5.0]
    assert projected(retain, 3.0, 5.0) == [3.0, 5.0]  # along the mean: nothing conflicts
    diagonal = follow([1.0, 1.0])
    assert projected(diagonal, -3.0, 1.0) == pytest.approx([-2.0, 2.0])


def test_before_any_retain_gradient_nothing_is_removed():
    assert projected(follow(), -3.0, 5.0) == [-3.0, 5.0]
    assert projected(follow(None), -3.0, 5.0) == [-3.0, 5.0]


def test_a_mean_whose_square_underflows_is_a_direction_like_any_other():
    retain = follow([1e-30, 0.0], dtype=torch.float32)
    assert projected(retain, -3e-29, 5e-29, dtype=torch.float32) == pytest.approx([0.0, 5e-29])


def test_a_mean_that_is_rounding_is_no_direction():
    retain = follow([1e-7, 0.0])
    assert projected(retain, -3.0, 5.0) == [-3.0, 5.0]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_gradient_that_is_no_number_does_not_stay_in_the_mean(value):
    retain = follow([value, 2.0], [4.0, 0.0])
    assert retain.mean["w"].tolist() == pytest.approx([0.4, 0.18])
    assert projected(retain, -1.0, 0.0) != [-1.0, 0.0]


def test_the_mean_of_coarse_weights_is_kept_in_float32():
    retain = follow(*[[1.0, 0.0]] * 60, dtype=torch.bfloat16)
    assert retain.mean["w"].dtype == torch.float32
    assert retain.mean["w"][0].item() == pytest.approx(1 - 0.9**60, rel=1e-5)
    taken = retain.project("w", torch.tensor([-1.0, 1.0], dtype=torch.bfloat16))
    assert taken.dtype == torch.bfloat16
    assert taken.tolist() == [0.0, 1.0]
