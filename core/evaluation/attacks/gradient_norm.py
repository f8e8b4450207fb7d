"""Gradient norm attack: the norm of the gradient of a record's loss, from one backward pass per record."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor
from transformers import PreTrainedModel

from core.lm.chunked_head import rows_per_slice, sliced_loss, slices
from core.lm.data import Chunk
from core.lm.forward import Forward
from core.lm.losses import token_nll
from core.lm.token_statistics import measuring_precision


class GradientNorms:
    """Gradient norms of a model, which is left as it was: gradients are dropped and `requires_grad` is restored.

    All weights count, whichever are trained. A weight's gradient is counted and dropped as soon as it is complete, so
    that memory holds a second copy of the weights only for records of more than `max_tokens`.
    """

    def __init__(self, model: PreTrainedModel, *, max_tokens: int) -> None:
        precision = measuring_precision(model)
        # float16 cannot hold small gradients.
        self._forward = Forward(model, autocast=None if precision == torch.float16 else precision)
        self._weights = [weight for weight in model.parameters() if weight.is_floating_point()]
        self._max_tokens = max_tokens
        self._last = False
        self._squares: list[Tensor] = []

    @contextmanager
    def ready(self) -> Iterator[None]:
        """Prepares the weights for `norm`; sums are made in the same order every time.

        On a GPU that holds for all sums but those inside its attention kernels.
        """
        required = [weight.requires_grad for weight in self._weights]
        before = torch.get_deterministic_debug_mode()
        hooks = []
        try:
            torch.set_deterministic_debug_mode("warn")
            for weight in self._weights:
                weight.requires_grad_(True)
                hooks.append(weight.register_post_accumulate_grad_hook(self._count))
            yield
        finally:
            torch.set_deterministic_debug_mode(before)
            for hook in hooks:
                hook.remove()
            for weight, requires_grad in zip(self._weights, required, strict=True):
                weight.grad = None
                weight.requires_grad_(requires_grad)

    def norm(self, chunks: Sequence[Chunk]) -> float:
        """||grad CE||_2 of a record, where CE is the mean over the scored tokens of all its chunks."""
        batches = self._forward.batches(chunks, self._max_tokens)
        scored = sum(int(chunk.scored.sum()) for chunk in chunks)
        self._squares = []
        for batch in batches:
            self._last = batch is batches[-1]
            with torch.enable_grad():
                (self._loss(batch) / scored).backward()  # type: ignore[no-untyped-call]
        for weight in self._weights:
            if weight.grad is not None:  # the last batch did not reach it
                self._count(weight)
        return float(torch.stack(self._squares).sum().sqrt())

    def _loss(self, batch: Sequence[Chunk]) -> Tensor:
        """The sum over the batch's scored tokens of -log p."""
        hidden, targets = self._forward.hidden(batch), self._forward.targets(batch)
        head, rows = self._forward.head, rows_per_slice(self._forward.vocabulary)
        if head is None:
            return token_nll(hidden, targets).sum()
        cuts = list(slices(0, len(hidden), rows))
        return sliced_loss(
            hidden, head, cuts, lambda logits, cut: token_nll(logits, targets[cut]).sum(), dtype=self._forward.autocast
        )

    def _count(self, weight: Tensor) -> None:
        if self._last and weight.grad is not None:
            self._squares.append(torch.linalg.vector_norm(weight.grad, dtype=torch.float64).square())
            weight.grad = None
