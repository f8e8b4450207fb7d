"""Fine-tuning on a few records, as somebody would who wants back what was forgotten."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import PreTrainedModel

from core.lm.chunked_head import rows_per_slice, sliced_loss, slices
from core.lm.data import Chunk
from core.lm.errors import CoreError
from core.lm.forward import Forward
from core.lm.layers import recompute_activations
from core.lm.losses import token_nll
from core.lm.precision import training_precision
from core.schema.evaluation import StepFigure
from core.schema.training import Training

LARGE = 1_000_000_000
"""Weights of a model that is fine-tuned at the lower learning rate."""
RATE, RATE_OF_LARGE = 1e-4, 2e-5


def default_rate(model: PreTrainedModel) -> float:
    """What such models are usually fine-tuned with."""
    return RATE_OF_LARGE if sum(weight.numel() for weight in model.parameters()) >= LARGE else RATE


class FineTuning:
    """All weights of a model, in place, by AdamW at a constant rate; every step sees all records.

    The loss is the mean over records of CE(x). Nothing in it is random: the same steps every time.
    """

    def __init__(
        self, model: PreTrainedModel, chunks: Sequence[Chunk], *, learning_rate: float, training: Training
    ) -> None:
        """Memory: beside the weights as much again three times, for gradients and AdamW's moments."""
        model.eval()  # without dropout
        model.requires_grad_(True)
        precision = training_precision(training.precision, model.dtype, model.device)
        self._forward = Forward(model, autocast=precision)
        if training.checkpointing:
            recompute_activations(model)
        self._model = model
        tokens: dict[int, int] = {}
        for chunk in chunks:
            tokens[chunk.record] = tokens.get(chunk.record, 0) + int(chunk.scored.sum())
        self._batches = [
            (batch, self._weights(batch, tokens))
            for batch in self._forward.batches(chunks, training.micro_batch_tokens)
        ]
        self._optimizer = torch.optim.AdamW(
            model.parameters(), lr=learning_rate, betas=(0.9, 0.999), weight_decay=0.0, fused=True
        )

    def step(self) -> float:
        """One update; the loss before it, in nats. Raises CoreError `not_finite`."""
        whole = 0.0
        for batch, weights in self._batches:
            loss = self._loss(batch, weights)
            torch.autograd.backward(loss)
            whole += loss.item()
        if not math.isfinite(whole):
            raise CoreError("not_finite", "fine-tuning gave a loss that is no finite number: lower its learning rate")
        self._optimizer.step()
        self._optimizer.zero_grad()
        return whole

    def _weights(self, batch: Sequence[Chunk], tokens: dict[int, int]) -> Tensor:
        """What each scored token counts in the mean: (N,), over all batches they sum to 1."""
        each = [torch.full((int(one.scored.sum()),), 1 / (tokens[one.record] * len(tokens))) for one in batch]
        return torch.cat(each).to(self._forward.device)

    def _loss(self, batch: Sequence[Chunk], weights: Tensor) -> Tensor:
        """A batch's part of the loss, with gradients: a scalar."""
        forward = self._forward
        hidden, targets = forward.hidden(batch), forward.targets(batch)  # (N, H), (N,)

        def value(logits: Tensor, cut: slice) -> Tensor:
            return (token_nll(logits, targets[cut]) * weights[cut]).sum()

        whole = slice(0, len(hidden))
        if forward.head is None:
            return value(hidden, whole)
        cuts = list(slices(0, len(hidden), rows_per_slice(forward.vocabulary)))
        return sliced_loss(hidden, forward.head, cuts, value, dtype=forward.autocast)


def half_steps(curve: Sequence[StepFigure], original: float) -> float | None:
    """Steps until half of the mean loss that was gained over the original's is gone again; None: not on the curve.

    The curve is of perplexities, from step 0 on, and `original` is one: the half is of their logarithms. Between two
    places of the curve it is taken to be straight.
    """
    losses = [math.log(place.figure.value) for place in curve]
    half = (losses[0] + math.log(original)) / 2
    for place in range(1, len(curve)):
        before, after = losses[place - 1], losses[place]
        if after <= half < before:
            start, end = curve[place - 1].step, curve[place].step
            return start + (end - start) * (before - half) / (before - after)
    return None
