"""A loss over slices of logits against the same loss over all logits, in float64."""

import pytest
import torch
from torch import nn

from core.lm.chunked_head import sliced_loss, slices, slices_of_groups


def inputs_and_head(bias=True):
    torch.manual_seed(0)
    hidden = torch.randn(11, 6, dtype=torch.float64, requires_grad=True)
    head = nn.Linear(6, 13, bias=bias).double()
    targets = torch.randint(13, (11,))
    return hidden, head, targets


def loss_of(targets):
    def loss(logits, cut):
        return (torch.log_softmax(logits, -1).gather(1, targets[cut, None])[:, 0] ** 2).sum()

    return loss


@pytest.mark.parametrize("bias", [True, False])
def test_loss_and_gradients_are_those_of_all_logits(bias):
    hidden, head, targets = inputs_and_head(bias)
    inputs = [hidden, *head.parameters()]
    whole = loss_of(targets)(head(hidden), slice(0, 11))
    expected = torch.autograd.grad(whole, inputs)
    for rows in (1, 4, 11, 50):
        sliced = sliced_loss(hidden, head, list(slices(0, 11, rows)), loss_of(targets), dtype=None)
        actual = torch.autograd.grad(3 * sliced, inputs)
        torch.testing.assert_close(sliced, whole, rtol=1e-12, atol=1e-12)
        for gradient, expected_gradient in zip(actual, expected, strict=True):
            torch.testing.assert_close(gradient, 3 * expected_gradient, rtol=1e-12, atol=1e-12)


def test_a_frozen_head_gets_no_gradient():
    hidden, head, targets = inputs_and_head()
    head.requires_grad_(False)
    sliced_loss(hidden, head, list(slices(0, 11, 4)), loss_of(targets), dtype=None).backward()
    assert head.weight.grad is None
    assert head.bias.grad is None
    assert hidden.grad.abs().sum() > 0


def test_products_in_bfloat16_are_summed_in_float32():
    hidden, head, targets = inputs_and_head()
    hidden, head = hidden.detach().float().requires_grad_(), head.float()
    exact = sliced_loss(hidden, head, [slice(0, 11)], loss_of(targets), dtype=None)
    rounded = sliced_loss(hidden, head, list(slices(0, 11, 4)), loss_of(targets), dtype=torch.bfloat16)
    assert rounded.dtype == torch.float32
    assert not rounded.equal(exact)
    torch.testing.assert_close(rounded, exact, rtol=3e-2, atol=0)
    rounded.backward()
    assert head.weight.grad.dtype == torch.float32


def test_slices_cover_every_row_once():
    assert [(cut.start, cut.stop) for cut in slices(3, 11, 4)] == [(3, 7), (7, 11)]
    assert list(slices(3, 3, 4)) == []


def test_slices_of_groups_are_cut_between_groups():
    assert [(cut.start, cut.stop) for cut in slices_of_groups(2, [3, 1, 4, 9, 1], 5)] == [
        (2, 6),
        (6, 10),
        (10, 19),
        (19, 20),
    ]
