"""Predictions of the original model, kept for the time after training has changed it: no second model is held."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from core.lm.chunked_head import rows_per_slice, slices
from core.lm.data import Chunk
from core.lm.forward import Forward, Head
from core.lm.row_store import RowStore


class ReferenceOutputs:
    """A model's predictions at a set's M scored tokens, in order of chunk and position.

    It keeps the last hidden states (M, H), in the precision in which the head reads them, and the head. One product
    gives any row's distribution over the vocabulary, and V / H times less memory is needed than for the distributions.
    """

    def __init__(self, forward: Forward, chunks: Sequence[Chunk], *, head: Head, max_tokens: int) -> None:
        """Runs the model once over the chunks. Later changes of its weights have no effect on the outputs.

        `head` is the model's `frozen_head`, of which several references may share one.
        """
        self._head = head
        self._device = forward.device

        def hidden(batch: Sequence[Chunk]) -> Tensor:
            states = forward.hidden(batch)
            return states if forward.autocast is None or forward.head is None else states.to(forward.autocast)

        self._hidden = rows_in_order(forward, chunks, hidden, max_tokens)  # (M, H)

    @torch.no_grad()
    def log_probabilities(self, rows: Tensor) -> Tensor:
        """Returns log p over the vocabulary at some of the M rows: (N,) -> (N, V)."""
        return torch.log_softmax(self._head(self._hidden.rows(rows.cpu()).to(self._device)), dim=-1)


def losses(forward: Forward, chunks: Sequence[Chunk], *, max_tokens: int) -> Tensor:
    """Returns every scored token's -log p under the model's present weights: (M,), in order of chunk and position."""

    def batch_losses(batch: Sequence[Chunk]) -> Tensor:
        return forward.losses(forward.hidden(batch), forward.targets(batch))

    return rows_in_order(forward, chunks, batch_losses, max_tokens).all_rows().to(forward.device)


def losses_and_entropies(forward: Forward, chunks: Sequence[Chunk], *, max_tokens: int) -> Tensor:
    """Returns every scored token's -log p, and the entropy of the model's prediction there: (M, 2)."""

    def batch_values(batch: Sequence[Chunk]) -> Tensor:
        return forward.losses_and_entropies(forward.hidden(batch), forward.targets(batch))

    return rows_in_order(forward, chunks, batch_values, max_tokens).all_rows().to(forward.device)


def runner_up_tokens(forward: Forward, chunks: Sequence[Chunk], *, max_tokens: int) -> Tensor:
    """Returns the most probable token other than the true one, by position: argmax_{a != x_t} p(a | x_<t), (M,)."""

    def batch_tokens(batch: Sequence[Chunk]) -> Tensor:
        hidden, targets = forward.hidden(batch), forward.targets(batch)
        cuts = slices(0, len(hidden), rows_per_slice(forward.vocabulary))
        return torch.cat(
            [forward.logits(hidden[cut]).scatter(1, targets[cut, None], float("-inf")).argmax(-1) for cut in cuts]
        )

    return rows_in_order(forward, chunks, batch_tokens, max_tokens).all_rows().to(forward.device)


@torch.no_grad()
def rows_in_order(
    forward: Forward, chunks: Sequence[Chunk], compute: Callable[[Sequence[Chunk]], Tensor], max_tokens: int
) -> RowStore:
    """Computes rows batch by batch, and stores them in the chunks' order.

    `compute` returns (n, ...), a row for each scored token of a batch. The model is not sharded yet: each rank computes
    its share of the batches, and every rank sees all rows.
    """
    places: dict[int, int] = {}
    total = 0
    for chunk in chunks:
        places[id(chunk)] = total
        total += int(chunk.scored.sum())
    batches = forward.ranks.local_items(forward.batches(chunks, max_tokens))
    rows = compute(batches[0]) if batches else None
    kinds = forward.ranks.all_gather(None if rows is None else (tuple(rows.shape[1:]), rows.dtype))
    shape, dtype = next(kind for kind in kinds if kind is not None)
    store = RowStore(total, shape, dtype, forward.ranks)
    for number, batch in enumerate(batches):
        if number or rows is None:
            rows = compute(batch)
        counts = [int(chunk.scored.sum()) for chunk in batch]
        for chunk, part in zip(batch, torch.split(rows, counts), strict=True):
            store.put(places[id(chunk)], part)
    forward.ranks.barrier()
    return store
