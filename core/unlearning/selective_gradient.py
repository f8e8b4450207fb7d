"""Selective gradients: the forget gradient without the pull of the directions that forget records share.

The largest singular directions of a matrix's forget gradient are those that all its records have in common, and much
other text with them. Forgetting along them suppresses all records together, so that an attacker who relearns a few
brings all of them back. Held to the size of the next direction, they leave the update to what each record has alone
(RepSelect, arXiv 2606.17168, with one side and one pass).
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

SHARE = 6
"""The directions that are held are at most the matrix's smaller side divided by this."""
ROWS_PER_DIRECTION = 10
"""Scored tokens of the update for each direction that is held: few tokens share few directions."""
_MORE = 8
"""Further directions of the subspace iteration, which makes the held ones exact."""
_ITERATIONS = 2


def selective_gradient(gradient: Tensor, directions: int) -> Tensor:
    """Holds the largest singular values of a gradient to the last of them, and scales it back to its norm: (m, n).

    G = U S Vᵀ becomes c (G - U_k (S_k - s_k) V_kᵀ), k = `directions`, c such that the Frobenius norm stays. The
    directions come from a subspace iteration that starts the same every time (arXiv 0909.4061, algorithm 4.4).
    """
    count = min(directions, *gradient.shape)
    exact = torch.float64 if gradient.dtype == torch.float64 else torch.float32
    whole = gradient.to(exact)
    norm = whole.norm()
    if count < 1 or not norm > 0:
        return gradient
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(whole.shape[1], min(count + _MORE, *whole.shape), generator=generator, dtype=exact)
    basis = torch.linalg.qr(whole @ start.to(whole.device)).Q  # (m, k + 8)
    for _ in range(_ITERATIONS):
        basis = torch.linalg.qr(whole @ torch.linalg.qr(whole.T @ basis).Q).Q
    left, values, right = torch.linalg.svd(basis.T @ whole, full_matrices=False)
    left, values, right = basis @ left[:, :count], values[:count], right[:count]
    held = whole - (left * (values - values[-1])) @ right
    scaled: Tensor = held * (norm / held.norm())
    return scaled.to(gradient.dtype)


class SelectiveGradients:
    """The matrices whose gradients are made selective: all trained ones but embeddings and the head."""

    def __init__(self, model: PreTrainedModel) -> None:
        outside = {id(module.weight) for module in model.modules() if isinstance(module, nn.Embedding)}
        if (head := model.get_output_embeddings()) is not None:
            outside.add(id(head.weight))
        self._matrices: Sequence[nn.Parameter] = [
            weight
            for weight in model.parameters()
            if weight.requires_grad and weight.dim() == 2 and id(weight) not in outside
        ]

    @torch.no_grad()
    def apply(self, rows: int) -> None:
        """Makes the present gradients selective; they are of an update with so many scored forget tokens."""
        with _one_thread():
            for weight in self._matrices:
                if weight.grad is not None:
                    directions = min(min(weight.shape) // SHARE, rows // ROWS_PER_DIRECTION)
                    weight.grad.copy_(selective_gradient(weight.grad, directions))


@contextmanager
def _one_thread() -> Iterator[None]:
    """Limits torch to one thread. Matrices this small gain nothing from a second one. With another process on the same
    two cores, a decomposition of 4 ms took 200."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
