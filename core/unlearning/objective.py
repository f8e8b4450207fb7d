"""The objective of an optimiser step, and its gradient in micro-batches that do not change it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from core.lm.data import Chunk, bucketed, pad
from core.lm.forward import Forward
from core.lm.losses import token_nll
from core.unlearning.corpus import Corpus


class Rows:
    """The N scored tokens that a term sees, all of one set, in ascending order of `index`."""

    def __init__(
        self, logits: Tensor, targets: Tensor, index: Tensor, record: Tensor, epoch: int, loss: Tensor | None = None
    ) -> None:
        self.logits = logits  # (N, V) at least float32
        self.targets = targets  # (N,) the true tokens
        self.index = index  # (N,) the row's number in its corpus
        self.record = record  # (N,) its record's number in its corpus
        self.epoch = epoch  # from 0
        self._loss = loss

    @property
    def loss(self) -> Tensor:
        """l_t = -log p(x_t | x_<t): (N,)."""
        if self._loss is None:
            self._loss = token_nll(self.logits, self.targets)
        return self._loss


Term = Callable[[Rows], Tensor]
"""A value for each row, (N,): a record's term is the mean over its rows, the set's is the mean over its records."""


@dataclass(frozen=True, eq=False)
class Part:
    """One set's part in the objective: weight * share * (mean over the step's records of `term`).

    `share` mixes the sets that a term is made of, so that theirs sum to 1.
    """

    name: str  # forget, retain or unseen
    corpus: Corpus
    term: Term
    weight: float
    share: float = 1.0
    whole_records: bool = False


Draw = tuple[Part, Sequence[int]]
"""A part, and the numbers of its records that a step is made of."""


@dataclass(frozen=True, eq=False)
class _Piece:
    """Chunks of one record that stay in one micro-batch."""

    draw: int
    part: Part
    records: int  # of the part in the whole step
    chunks: Sequence[int]

    def shape(self) -> tuple[int, int]:
        return len(self.chunks), max(len(self.part.corpus.chunks[chunk].ids) for chunk in self.chunks)


@dataclass(frozen=True)
class StepValues:
    """A step's loss, each term's value before its weight, by name, and how many tokens went through the model."""

    loss: float
    parts: dict[str, float]
    tokens: int


def accumulate_gradient(
    forward: Forward, draws: Sequence[Draw], *, epoch: int, max_tokens: int, backward: Callable[[Tensor], None]
) -> StepValues:
    """Adds the gradient of sum_parts weight * share * mean_records(term) to the model's `.grad`.

    The counts that the means divide by are those of the whole step, known before the first forward; so the result
    does not depend on `max_tokens`, the padded tokens of one forward. Records of all parts share the forwards.
    """
    pieces: list[_Piece] = []
    for number, (part, records) in enumerate(draws):
        pieces.extend(_pieces(forward, number, part, sorted(records), epoch, max_tokens))
    totals = torch.zeros(len(draws), dtype=torch.float64, device=forward.device)
    tokens = 0
    for batch in bucketed(pieces, _Piece.shape, max_tokens):
        loss, means, counted = _micro_batch(forward, batch, epoch, len(draws))
        backward(loss)
        totals += means
        tokens += counted
    values = totals.tolist()
    parts: dict[str, float] = {}
    for (part, _), value in zip(draws, values, strict=True):
        parts[part.name] = parts.get(part.name, 0.0) + part.share * value
    loss_value = sum(part.weight * part.share * value for (part, _), value in zip(draws, values, strict=True))
    return StepValues(loss=loss_value, parts=parts, tokens=tokens)


def _pieces(
    forward: Forward, number: int, part: Part, records: Sequence[int], epoch: int, max_tokens: int
) -> list[_Piece]:
    pieces: list[_Piece] = []
    for record in records:
        chunks = part.corpus.of_record[record]
        if not part.whole_records:
            pieces.extend(_Piece(number, part, len(records), [chunk]) for chunk in chunks)
            continue
        whole = _Piece(number, part, len(records), chunks)
        rows, longest = whole.shape()
        if len(chunks) == 1 or rows * longest <= max_tokens:
            pieces.append(whole)
        else:
            linear = _linearised(forward, part, chunks, epoch, max_tokens)
            pieces.extend(_Piece(number, linear, len(records), [chunk]) for chunk in chunks)
    return pieces


def _micro_batch(forward: Forward, batch: Sequence[_Piece], epoch: int, draws: int) -> tuple[Tensor, Tensor, int]:
    """(the micro-batch's part of the step's loss, of each draw's mean (draws,), its tokens)."""
    batch = sorted(batch, key=lambda piece: (piece.draw, piece.chunks[0]))
    chunks = [piece.part.corpus.chunks[chunk] for piece in batch for chunk in piece.chunks]
    padded = pad(chunks, 0)
    logits = forward.logits(forward.hidden(padded))  # (N, V)
    targets = forward.targets(padded)  # (N,)
    loss = torch.zeros((), device=forward.device)
    means = torch.zeros(draws, dtype=torch.float64, device=forward.device)
    start = first = 0
    while first < len(batch):
        part, draw = batch[first].part, batch[first].draw
        last = first
        while last < len(batch) and batch[last].part is part and batch[last].draw == draw:
            last += 1
        index = torch.cat([part.corpus.index(chunk) for piece in batch[first:last] for chunk in piece.chunks])
        index = index.to(forward.device)
        stop = start + len(index)
        rows = Rows(logits[start:stop], targets[start:stop], index, part.corpus.record[index], epoch)
        values = part.term(rows)
        mean = (values * part.corpus.share[index].to(values.dtype)).sum() / batch[first].records
        means[draw] += mean.detach()
        loss = loss + part.weight * part.share * mean
        start, first = stop, last
    return loss, means, sum(len(chunk.ids) for chunk in chunks)


def _linearised(forward: Forward, part: Part, chunks: Sequence[int], epoch: int, max_tokens: int) -> Part:
    """The part for one record that is too long for one micro-batch: same value, same gradient, chunk by chunk.

    The term depends on the model through the record's token losses l alone. So with c = d(sum of values) / dl, found
    from a pass without gradients, values + c * (l - l as a constant) has the value and the gradient of the term.
    """
    corpus = part.corpus
    index = torch.cat([corpus.index(chunk) for chunk in chunks])
    losses: dict[int, Tensor] = {}
    with torch.no_grad():
        for batch in bucketed(list(chunks), lambda chunk: (1, len(corpus.chunks[chunk].ids)), max_tokens):
            found = [corpus.chunks[chunk] for chunk in batch]
            losses.update(zip(batch, torch.split(_losses(forward, found), _counts(found)), strict=True))
    leaf = torch.cat([losses[chunk] for chunk in chunks]).requires_grad_(True)
    empty = torch.empty(0, device=forward.device)
    index = index.to(forward.device)
    with torch.enable_grad():
        values = part.term(Rows(empty, empty, index, corpus.record[index], epoch, loss=leaf))
        (slope,) = torch.autograd.grad(values.sum(), leaf)
    start, constant, at = int(index[0]), values.detach(), leaf.detach()

    def term(rows: Rows) -> Tensor:
        place = rows.index - start
        return constant[place] + slope[place] * (rows.loss - at[place])

    return replace(part, term=term)


def _losses(forward: Forward, chunks: Sequence[Chunk]) -> Tensor:
    padded = pad(chunks, 0)
    return token_nll(forward.logits(forward.hidden(padded)), forward.targets(padded))


def _counts(chunks: Sequence[Chunk]) -> list[int]:
    return [int(chunk.scored.sum()) for chunk in chunks]
