"""What the original model says, kept after training has changed it: no second model is held."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from core.lm.chunked_head import rows_per_slice, slices
from core.lm.data import Chunk
from core.lm.forward import Forward, Head
from core.lm.row_store import RowStore


class ReferenceOutputs:
    """A model's predictions at a set's M scored tokens, in order of chunk and position.

    Kept are the last hidden states (M, H), in the precision in which the head reads them, and the head, from which any
    row's distribution over the vocabulary is one product away: V / H times less memory than the distributions.
    """

    def __init__(self, forward: Forward, chunks: Sequence[Chunk], *, head: Head, max_tokens: int) -> None:
        """Runs the model once over the chunks. Later changes of its weights do not show here.

        `head` is the model's `frozen_head`, of which several references may share one.
        """
        self._head = head
        self._device = forward.device

        def kept(batch: Sequence[Chunk]) -> Tensor:
            hidden = forward.hidden(batch)
            return hidden if forward.autocast is None or forward.head is None else hidden.to(forward.autocast)

        self._hidden = rows_in_order(forward, chunks, kept, max_tokens)  # (M, H)

    @torch.no_grad()
    def log_probabilities(self, rows: Tensor) -> Tensor:
        """(N,) rows of the M -> (N, V) log p."""
        return torch.log_softmax(self._head(self._hidden.rows(rows.cpu()).to(self._device)), dim=-1)


def losses(forward: Forward, chunks: Sequence[Chunk], *, max_tokens: int) -> Tensor:
    """Every scored token's -log p under the model as it is now: (M,), in order of chunk and position."""

    def of(batch: Sequence[Chunk]) -> Tensor:
        return forward.losses(forward.hidden(batch), forward.targets(batch))

    return rows_in_order(forward, chunks, of, max_tokens).all_rows().to(forward.device)


def losses_and_entropies(forward: Forward, chunks: Sequence[Chunk], *, max_tokens: int) -> Tensor:
    """The same, and the entropy of what the model predicts there: (M, 2)."""

    def of(batch: Sequence[Chunk]) -> Tensor:
        return forward.losses_and_entropies(forward.hidden(batch), forward.targets(batch))

    return rows_in_order(forward, chunks, of, max_tokens).all_rows().to(forward.device)


def runner_up_tokens(forward: Forward, chunks: Sequence[Chunk], *, max_tokens: int) -> Tensor:
    """The most probable token but the true one, at the same position: argmax_{a != x_t} p(a | x_<t), (M,)."""

    def of(batch: Sequence[Chunk]) -> Tensor:
        hidden, targets = forward.hidden(batch), forward.targets(batch)
        cuts = slices(0, len(hidden), rows_per_slice(forward.vocabulary))
        return torch.cat(
            [forward.logits(hidden[cut]).scatter(1, targets[cut, None], float("-inf")).argmax(-1) for cut in cuts]
        )

    return rows_in_order(forward, chunks, of, max_tokens).all_rows().to(forward.device)


@torch.no_grad()
def rows_in_order(
    forward: Forward, chunks: Sequence[Chunk], rows: Callable[[Sequence[Chunk]], Tensor], max_tokens: int
) -> RowStore:
    """`rows` of batches of the chunks, (n, ...) with a row for each scored token, in the chunks' order.

    Of a model that is not sharded yet: each rank does its own of the batches, and all see what all have found.
    """
    places: dict[int, int] = {}
    total = 0
    for chunk in chunks:
        places[id(chunk)] = total
        total += int(chunk.scored.sum())
    batches = forward.ranks.local_items(forward.batches(chunks, max_tokens))
    found = rows(batches[0]) if batches else None
    kinds = forward.ranks.all_gather(None if found is None else (tuple(found.shape[1:]), found.dtype))
    shape, dtype = next(kind for kind in kinds if kind is not None)
    table = RowStore(total, shape, dtype, forward.ranks)
    for number, batch in enumerate(batches):
        if number or found is None:
            found = rows(batch)
        counts = [int(chunk.scored.sum()) for chunk in batch]
        for chunk, part in zip(batch, torch.split(found, counts), strict=True):
            table.put(places[id(chunk)], part)
    forward.ranks.barrier()
    return table
