"""Selective gradients against a whole singular value decomposition in float64."""

import pytest
import torch

from core.unlearning.selective_gradient import SelectiveGradients, selective_gradient
from tests.unit.lm.tiny import tiny_model


def matrix(rows: int, columns: int, values: list[float], *, seed: int = 0) -> torch.Tensor:
    """A matrix with these singular values."""
    torch.manual_seed(seed)
    left = torch.linalg.qr(torch.randn(rows, len(values), dtype=torch.float64)).Q
    right = torch.linalg.qr(torch.randn(columns, len(values), dtype=torch.float64)).Q
    product: torch.Tensor = left @ torch.diag(torch.tensor(values, dtype=torch.float64)) @ right.T
    return product


def naive(gradient: torch.Tensor, directions: int) -> torch.Tensor:
    left, values, right = torch.linalg.svd(gradient, full_matrices=False)
    held = values.clone()
    held[:directions] = values[directions - 1]
    result: torch.Tensor = left @ torch.diag(held) @ right
    result *= gradient.norm() / result.norm()
    return result


@pytest.mark.parametrize(("rows", "columns"), [(40, 60), (60, 40), (12, 300)])
@pytest.mark.parametrize("directions", [1, 3, 5])
def test_the_largest_singular_values_are_held_to_the_last_of_them(rows: int, columns: int, directions: int) -> None:
    gradient = matrix(rows, columns, [9.0, 7.0, 4.0, 2.0, 1.5, 0.6, 0.4, 0.2, 0.1, 0.05])
    selected = selective_gradient(gradient, directions)
    torch.testing.assert_close(selected, naive(gradient, directions), rtol=1e-8, atol=1e-10)
    assert selected.norm() == pytest.approx(gradient.norm().item())
    torch.testing.assert_close(selective_gradient(gradient, directions), selected, rtol=0, atol=0)


def test_a_direction_that_all_records_share_no_longer_outweighs_what_each_has_alone() -> None:
    shared, own = torch.ones(30, 50, dtype=torch.float64), 0.1 * matrix(30, 50, [1.0] * 20)
    before, after = shared + own, selective_gradient(shared + own, 2)
    direction = shared / shared.norm()
    assert (before * direction).sum() > 0.99 * before.norm()
    assert (after * direction).sum() < 0.3 * after.norm()


@pytest.mark.parametrize("gradient", [torch.zeros(8, 8), torch.randn(8, 8)])
def test_without_a_direction_or_a_gradient_nothing_changes(gradient: torch.Tensor) -> None:
    assert selective_gradient(gradient, 0 if gradient.any() else 3).equal(gradient)


def test_the_type_of_a_gradient_stays() -> None:
    gradient = matrix(20, 20, [3.0, 2.0, 1.0]).to(torch.bfloat16)
    selected = selective_gradient(gradient, 2)
    assert selected.dtype == torch.bfloat16
    torch.testing.assert_close(selected.double(), naive(gradient.double(), 2), rtol=0.05, atol=0.02)


def test_embeddings_norms_and_gradients_of_few_tokens_stay_as_they_are() -> None:
    model = tiny_model()
    model.model.layers[1].requires_grad_(False)
    torch.manual_seed(0)
    gradients = {name: torch.randn_like(weight) for name, weight in model.named_parameters() if weight.requires_grad}

    def changed(rows: int) -> set[str]:
        for name, weight in model.named_parameters():
            weight.grad = gradients[name].clone() if name in gradients else None
        SelectiveGradients(model).apply(rows)
        return {
            name
            for name, weight in model.named_parameters()
            if weight.grad is not None and not weight.grad.equal(gradients[name])
        }

    assert changed(19) == set()  # a single direction would be held to itself
    names = changed(100)
    assert names
    assert all("layers.0." in name and "norm" not in name for name in names)
