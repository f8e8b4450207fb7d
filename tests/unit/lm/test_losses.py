import math

import pytest
import torch

from core.lm.losses import per_record_mean, token_kl, token_nll, token_soft_nll


def softmax(row):
    total = sum(math.exp(value) for value in row)
    return [math.exp(value) / total for value in row]


@pytest.fixture
def logits():
    return torch.randn(6, 11, dtype=torch.float64, generator=torch.Generator().manual_seed(1)) * 3


@pytest.fixture
def reference_logits():
    return torch.randn(6, 11, dtype=torch.float64, generator=torch.Generator().manual_seed(2)) * 3


def test_nll_is_minus_the_log_probability_of_the_target(logits):
    targets = torch.tensor([3, 0, 10, 5, 5, 1])
    naive = [-math.log(softmax(row)[target]) for row, target in zip(logits.tolist(), targets.tolist(), strict=True)]
    assert token_nll(logits, targets).tolist() == pytest.approx(naive, rel=1e-12)


def test_kl_is_that_of_the_reference_against_the_model(logits, reference_logits):
    naive = [
        sum(p * (math.log(p) - math.log(q)) for p, q in zip(softmax(reference), softmax(row), strict=True))
        for reference, row in zip(reference_logits.tolist(), logits.tolist(), strict=True)
    ]
    assert token_kl(torch.log_softmax(reference_logits, -1), logits).tolist() == pytest.approx(naive, rel=1e-12)


def test_kl_of_a_model_against_itself_is_zero_and_so_is_its_gradient(logits):
    logits.requires_grad_(True)
    values = token_kl(torch.log_softmax(logits.detach(), -1), logits)
    values.sum().backward()
    assert values.abs().max() < 1e-12
    assert logits.grad.abs().max() < 1e-12


def test_soft_nll_is_the_cross_entropy_to_the_soft_target(logits, reference_logits):
    naive = [
        -sum(q * math.log(p) for q, p in zip(softmax(target), softmax(row), strict=True))
        for target, row in zip(reference_logits.tolist(), logits.tolist(), strict=True)
    ]
    assert token_soft_nll(torch.log_softmax(reference_logits, -1), logits).tolist() == pytest.approx(naive, rel=1e-12)


def test_half_precision_is_converted_to_float32_before_sums(logits):
    half = logits.to(torch.bfloat16)
    assert token_nll(half, torch.zeros(6, dtype=torch.long)).dtype == torch.float32
    assert token_nll(logits, torch.zeros(6, dtype=torch.long)).dtype == torch.float64


def test_a_records_mean_is_over_its_own_values_alone():
    means = per_record_mean(torch.tensor([1.0, 2.0, 3.0, 10.0]), torch.tensor([0, 0, 2, 0]), 4)
    assert means.tolist() == pytest.approx([13 / 3, 0, 3, 0])
