"""What the original model says, kept after training has changed it: no second model is held."""

from collections.abc import Sequence

import torch
from torch import Tensor

from core.lm.data import Chunk, micro_batches, pad
from core.lm.forward import Forward
from core.lm.losses import token_nll


class Reference:
    """A model's predictions at a set's M scored tokens, in order of chunk and position.

    Kept are the last hidden states (M, H) and the head, from which any row's distribution over the vocabulary is one
    product away: V / H times less memory than the distributions themselves.
    """

    def __init__(self, forward: Forward, chunks: Sequence[Chunk], *, max_tokens: int) -> None:
        """Runs the model once over the chunks. Later changes of its weights do not show here."""
        self._head = forward.frozen_head()
        self._hidden = _in_order(forward, chunks, max_tokens)  # (M, H)
        self.targets = torch.cat([chunk.ids[chunk.scored] for chunk in chunks]).to(forward.device)  # (M,)

    @torch.no_grad()
    def log_probabilities(self, rows: Tensor) -> Tensor:
        """(N,) rows of the M -> (N, V) log p."""
        return torch.log_softmax(self._head(self._hidden[rows]), dim=-1)

    @torch.no_grad()
    def losses(self, *, at_once: int = 4096) -> Tensor:
        """Every scored token's -log p: (M,)."""
        hidden, targets = torch.split(self._hidden, at_once), torch.split(self.targets, at_once)
        return torch.cat([token_nll(self._head(some), those) for some, those in zip(hidden, targets, strict=True)])

    @torch.no_grad()
    def runners_up(self, *, at_once: int = 4096) -> Tensor:
        """The most probable token but the true one, at the same position: argmax_{a != x_t} p(a | x_<t), (M,)."""
        labels = []
        for some, those in zip(torch.split(self._hidden, at_once), torch.split(self.targets, at_once), strict=True):
            labels.append(self._head(some).scatter(1, those[:, None], float("-inf")).argmax(-1))
        return torch.cat(labels)


@torch.no_grad()
def _in_order(forward: Forward, chunks: Sequence[Chunk], max_tokens: int) -> Tensor:
    place = {id(chunk): number for number, chunk in enumerate(chunks)}
    parts: list[Tensor] = [torch.empty(0)] * len(chunks)
    for batch in micro_batches(chunks, max_tokens):
        counts = [int(chunk.scored.sum()) for chunk in batch]
        for chunk, part in zip(batch, torch.split(forward.hidden(pad(batch, 0)), counts), strict=True):
            parts[place[id(chunk)]] = part
    return torch.cat(parts)
