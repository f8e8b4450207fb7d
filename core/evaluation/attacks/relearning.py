"""Relearning attack: fine-tuning on a few records, as somebody would to get forgotten text back."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import PreTrainedModel

from core.evaluation.attacks.relearning_attacks import Optimizer
from core.lm import adapter
from core.lm.chunked_head import rows_per_slice, sliced_loss, slices
from core.lm.data import Chunk
from core.lm.errors import CoreError
from core.lm.forward import Forward
from core.lm.layers import recompute_activations
from core.lm.losses import token_nll
from core.lm.precision import training_precision
from core.schema.evaluation import StepFigure
from core.schema.training import Lora, Training

RANK = 8
"""Rank of the adapter of an attacker who trains no more."""


class FineTuning:
    """Trains a model in place at a constant learning rate: all its weights, or an adapter; every step sees all records.

    The loss is the mean over records of CE(x). The steps are the same every time: the adapter is drawn by the seed.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        chunks: Sequence[Chunk],
        *,
        learning_rate: float,
        training: Training,
        optimizer: Optimizer = "adamw",
    ) -> None:
        """Takes memory for the gradients of the trained weights in addition, and for AdamW's two moments of each.

        Raises CoreError `unsupported_modules` where the model takes no adapter.
        """
        model.eval()  # without dropout
        model.requires_grad_(True)
        if optimizer == "lora":
            with torch.random.fork_rng():
                torch.manual_seed(training.seed)
                adapter.attach(model, Lora(rank=RANK, alpha=2 * RANK))
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
        trained = [weight for weight in model.parameters() if weight.requires_grad]
        self._optimizer: torch.optim.Optimizer
        if optimizer == "sgd":
            self._optimizer = torch.optim.SGD(trained, lr=learning_rate)
        else:
            self._optimizer = torch.optim.AdamW(
                trained, lr=learning_rate, betas=(0.9, 0.999), weight_decay=0.0, fused=True
            )

    def step(self) -> float:
        """Makes one update and returns the loss before it, in nats. Raises CoreError `not_finite`."""
        total = 0.0
        for batch, weights in self._batches:
            loss = self._loss(batch, weights)
            torch.autograd.backward(loss)
            total += loss.item()
        if not math.isfinite(total):
            raise CoreError("not_finite", "fine-tuning gave a loss that is no finite number: lower its learning rate")
        self._optimizer.step()
        self._optimizer.zero_grad()
        return total

    def _weights(self, batch: Sequence[Chunk], tokens: dict[int, int]) -> Tensor:
        """The weight of each scored token in the mean loss: (N,); over all batches the weights sum to 1."""
        weights = [torch.full((int(chunk.scored.sum()),), 1 / (tokens[chunk.record] * len(tokens))) for chunk in batch]
        return torch.cat(weights).to(self._forward.device)

    def _loss(self, batch: Sequence[Chunk], weights: Tensor) -> Tensor:
        """A batch's share of the loss, with gradients: a scalar."""
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
    """Steps until half of the loss that unlearning added is gone again; None: not within the curve.

    The curve holds perplexities from step 0 on, `original` is the perplexity before unlearning; the half refers to
    their logarithms. Between two points the curve is taken to be straight.
    """
    losses = [math.log(point.figure.value) for point in curve]
    half = (losses[0] + math.log(original)) / 2
    for index in range(1, len(curve)):
        before, after = losses[index - 1], losses[index]
        if after <= half < before:
            start, end = curve[index - 1].step, curve[index].step
            return start + (end - start) * (before - half) / (before - after)
    return None
