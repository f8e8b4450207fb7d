"""The forward pass where it is needed only: hidden states of the whole sequence, logits at scored positions."""

import copy
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from core.lm.data import Batch
from core.lm.losses import widen

Head = Callable[[Tensor], Tensor]
"""Last hidden states (N, H) to logits (N, V)."""


class Forward:
    """A causal model in two parts, backbone and head, so that (B, T, V) logits never stand in memory.

    Whether the head applied to the backbone's last hidden state gives the model's own logits is tried on a few tokens,
    not guessed: models that cap, scale or transform in between are run as a whole, and their `hidden` is their logits.
    `autocast` is the dtype of the backbone's arithmetic; the head always computes in at least float32.
    """

    def __init__(self, model: PreTrainedModel, *, autocast: torch.dtype | None = None) -> None:
        self.model = model
        self.autocast = autocast
        self.head: nn.Module | None = self._head()

    @property
    def device(self) -> torch.device:
        device: torch.device = next(self.model.parameters()).device
        return device

    @torch.no_grad()
    def _head(self) -> nn.Module | None:
        head: nn.Module | None = self.model.get_output_embeddings()
        if not isinstance(head, nn.Linear) or self.model.base_model is self.model:
            return None
        vocabulary = self.model.get_input_embeddings().num_embeddings
        ids = torch.arange(4, device=self.device).remainder(vocabulary)[None]  # (1, 4)
        whole = self.model(input_ids=ids, use_cache=False).logits
        parts = head(self.model.base_model(input_ids=ids, use_cache=False).last_hidden_state)
        return head if parts.shape == whole.shape and torch.allclose(parts, whole, rtol=1e-4, atol=1e-4) else None

    def precision(self) -> AbstractContextManager[object]:
        """The arithmetic of the backbone."""
        return torch.autocast(self.device.type, self.autocast) if self.autocast is not None else nullcontext()

    def hidden(self, batch: Batch) -> Tensor:
        """What the head predicts the batch's scored tokens from: (N, H), in order of row and position.

        No attention mask: padding is on the right, so that the causal mask alone hides it, and the kernels are quicker.
        """
        batch = batch.to(self.device)
        with self.precision():
            if self.head is not None:
                states = self.model.base_model(input_ids=batch.ids, use_cache=False).last_hidden_state  # (B, T, H)
            else:
                states = self.model(input_ids=batch.ids, use_cache=False).logits  # (B, T, V)
        return widen(states[:, :-1][batch.scored[:, 1:]])

    def following(self, ids: Tensor, cache: object | None) -> tuple[Tensor, object]:
        """The logits after ids (B, T), which follow what `cache` holds (None: nothing): (B, V), and the cache then."""
        part = self.model.base_model if self.head is not None else self.model
        with self.precision():
            found = part(input_ids=ids, past_key_values=cache, use_cache=True)
        states = found.last_hidden_state if self.head is not None else found.logits
        return self.logits(widen(states[:, -1])), found.past_key_values

    def targets(self, batch: Batch) -> Tensor:
        """The scored tokens: (N,), in the same order."""
        batch = batch.to(self.device)
        return batch.ids[batch.scored]

    def logits(self, hidden: Tensor) -> Tensor:
        """(N, H) -> (N, V), at least float32, with gradients for whatever requires them."""
        return hidden if self.head is None else self.head(hidden)

    def frozen_head(self) -> Head:
        """The head as it is now; later training does not change it."""
        if self.head is None:
            return lambda hidden: hidden
        return copy.deepcopy(self.head).requires_grad_(False)
