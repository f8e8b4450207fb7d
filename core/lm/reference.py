"""What the original model says, kept after training has changed it: no second model is held."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from core.lm.data import Chunk, micro_batches, pad
from core.lm.forward import Forward, Head
from core.lm.losses import token_nll


class Reference:
    """A model's predictions at a set's M scored tokens, in order of chunk and position.

    Kept are the last hidden states (M, H) and the head, from which any row's distribution over the vocabulary is one
    product away: V / H times less memory than the distributions themselves.
    """

    def __init__(self, forward: Forward, chunks: Sequence[Chunk], *, head: Head, max_tokens: int) -> None:
        """Runs the model once over the chunks. Later changes of its weights do not show here.

        `head` is the model's `frozen_head`, of which several references may share one.
        """
        self._head = head
        self._device = forward.device
        self._hidden = _in_order(forward, chunks, max_tokens)  # (M, H) on the CPU: it may be larger than the model
        self._targets = torch.cat([chunk.ids[chunk.scored] for chunk in chunks])  # (M,)

    @torch.no_grad()
    def log_probabilities(self, rows: Tensor) -> Tensor:
        """(N,) rows of the M -> (N, V) log p."""
        return torch.log_softmax(self._head(self._hidden[rows.cpu()].to(self._device)), dim=-1)

    @torch.no_grad()
    def losses(self, *, at_once: int = 4096) -> Tensor:
        """Every scored token's -log p: (M,)."""
        return torch.cat([token_nll(logits, targets) for logits, targets in self._logits(at_once)])

    @torch.no_grad()
    def runners_up(self, *, at_once: int = 4096) -> Tensor:
        """The most probable token but the true one, at the same position: argmax_{a != x_t} p(a | x_<t), (M,)."""
        return torch.cat(
            [logits.scatter(1, targets[:, None], float("-inf")).argmax(-1) for logits, targets in self._logits(at_once)]
        )

    def _logits(self, at_once: int) -> Iterator[tuple[Tensor, Tensor]]:
        """(N, V) logits and (N,) true tokens of all rows, `at_once` rows at a time."""
        slices = zip(torch.split(self._hidden, at_once), torch.split(self._targets, at_once), strict=True)
        for hidden, targets in slices:
            yield self._head(hidden.to(self._device)), targets.to(self._device)


@torch.no_grad()
def _in_order(forward: Forward, chunks: Sequence[Chunk], max_tokens: int) -> Tensor:
    place = {id(chunk): number for number, chunk in enumerate(chunks)}
    parts: list[Tensor] = [torch.empty(0)] * len(chunks)
    for batch in micro_batches(chunks, max_tokens):
        counts = [int(chunk.scored.sum()) for chunk in batch]
        for chunk, part in zip(batch, torch.split(forward.hidden(pad(batch, 0)), counts), strict=True):
            parts[place[id(chunk)]] = part.cpu()
    return torch.cat(parts)
