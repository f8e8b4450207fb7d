"""The objective of an optimiser step, and its gradient in micro-batches that do not change it."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from core.lm.chunked_head import rows_per_slice, sliced_loss, slices, slices_of_groups
from core.lm.data import Chunk, bin_pack, bucket_by_length
from core.lm.forward import Forward
from core.lm.losses import token_entropy, token_nll
from core.unlearning.tokenized_set import TokenizedSet

_EMPTY = torch.empty(0)


@dataclass(eq=False)
class Rows:
    """The N scored tokens that a term sees, all of one set, in ascending order of `index`."""

    index: Tensor  # (N,) the row's number in its corpus
    record: Tensor  # (N,) its record's number in its corpus
    alternate: Tensor  # (N,) bool: of the record's alternate; of terms of pairs only
    targets: Tensor  # (N,) the true tokens
    epoch: int  # from 0
    logits: Tensor = _EMPTY  # (N, V) at least float32; not for terms in a layer, nor where a record is taken apart
    states: Tensor = _EMPTY  # (N, d) the residual stream at the positions that hold the tokens, for terms in a layer
    given_loss: Tensor | None = None
    given_entropy: Tensor | None = None

    @property
    def loss(self) -> Tensor:
        """l_t = -log p(x_t | x_<t): (N,)."""
        if self.given_loss is None:
            self.given_loss = token_nll(self.logits, self.targets)
        return self.given_loss

    @property
    def entropy(self) -> Tensor:
        """H_t = -sum_v p(v | x_<t) log p(v | x_<t): (N,)."""
        if self.given_entropy is None:
            self.given_entropy = token_entropy(self.logits)
        return self.given_entropy


Term = Callable[[Rows], Tensor]
"""A value for each row, (N,): a record's term is the mean over its rows, the set's is the mean over its records."""


@dataclass(frozen=True, eq=False)
class WeightedTerm:
    """One set's part in the objective: weight * share * (mean over the step's records of `term`).

    `share` mixes the sets that a term is made of, so that theirs sum to 1.
    """

    name: str  # forget, retain, unseen or rehearsal
    corpus: TokenizedSet
    term: Term
    weight: float
    share: float = 1.0
    whole_records: bool = False
    """The term needs all of a record's rows at once, and depends on the model through their `loss` and `entropy`
    alone."""
    layer: int | None = None
    """The layer whose states the term looks at; None: the logits."""
    watched: bool = False
    """Its value is wanted even when its weight is 0."""

    @property
    def computed(self) -> bool:
        return self.watched or self.weight * self.share != 0


TermBatch = tuple[WeightedTerm, Sequence[int]]
"""A part, and the numbers of its records that a step is made of."""


@dataclass(frozen=True, eq=False)
class _Piece:
    """Chunks of one record that stay in one micro-batch."""

    draw: int
    part: WeightedTerm
    records: float  # of the part in the whole step; infinite where the piece is to have no effect
    places: Sequence[int]  # of the chunks, in the part's corpus

    @property
    def chunks(self) -> list[Chunk]:
        return [self.part.corpus.chunks[place] for place in self.places]

    @property
    def index(self) -> Tensor:
        return torch.cat([self.part.corpus.index(place) for place in self.places])

    def tokens(self) -> int:
        return sum(len(chunk.ids) for chunk in self.chunks)

    def shape(self) -> tuple[int, int]:
        return len(self.places), max(len(chunk.ids) for chunk in self.chunks)


@dataclass(frozen=True, eq=False)
class _Section:
    """Neighbouring rows of a micro-batch that one term looks at."""

    pieces: list[_Piece]
    start: int
    counts: list[int]  # rows of each piece

    @property
    def stop(self) -> int:
        return self.start + sum(self.counts)


@dataclass(frozen=True)
class StepValues:
    """A step's loss, each term's value before its weight, by name, and how many tokens went through the model."""

    loss: float
    parts: dict[str, float]
    tokens: int


def accumulate_gradient(
    forward: Forward, draws: Sequence[TermBatch], *, epoch: int, max_tokens: int, backward: Callable[[Tensor], None]
) -> StepValues:
    """Adds the gradient of sum_parts weight * share * mean_records(term) to the model's `.grad`.

    The counts that the means divide by are those of the whole step, known before the first forward; so the result
    does not depend on `max_tokens`, the tokens of one forward. Records of all parts share the forwards, but for those
    that end in another layer; parts of weight 0 are not computed. The ranks share the step: the gradient of each is
    that of its own micro-batches, which `backward` has to add up, and the values are the step's in all of them.
    """
    pieces: list[_Piece] = []
    for number, (part, records) in enumerate(draws):
        if part.computed:
            pieces.extend(_pieces(forward, number, part, sorted(records), epoch, max_tokens))
    totals = torch.zeros(len(draws), dtype=torch.float64, device=forward.device)
    for batch in _own_batches(forward, pieces, max_tokens):
        backward(forward.run(_MicroBatch(forward, batch, epoch, totals).loss))
    values = forward.ranks.all_reduce(totals).tolist()
    parts: dict[str, float] = {}
    loss = 0.0
    for (part, _), value in zip(draws, values, strict=True):
        if part.computed:
            parts[part.name] = parts.get(part.name, 0.0) + part.share * value
            loss += part.weight * part.share * value
    return StepValues(loss=loss, parts=parts, tokens=sum(piece.tokens() for piece in pieces))


def _pieces(
    forward: Forward, number: int, part: WeightedTerm, records: Sequence[int], epoch: int, max_tokens: int
) -> Iterator[_Piece]:
    for record in records:
        places = part.corpus.of_record[record]
        apart = [_Piece(number, part, len(records), [place]) for place in places]
        whole = _Piece(number, part, len(records), places)
        if not part.whole_records:
            yield from apart
        elif len(_batches(forward, apart, max_tokens)) == 1:
            yield whole
        else:
            linear = _linear(whole, _losses_and_entropies(forward, apart, max_tokens), epoch)
            yield from (replace(piece, part=linear) for piece in apart)


def _batches(forward: Forward, pieces: Sequence[_Piece], max_tokens: int) -> list[list[_Piece]]:
    """The pieces in micro-batches of `max_tokens`, those of each layer by themselves."""
    batches: list[list[_Piece]] = []
    for layer in dict.fromkeys(piece.part.layer for piece in pieces):
        some = [piece for piece in pieces if piece.part.layer == layer]
        if forward.packed:
            batches += bin_pack(some, _Piece.tokens, max_tokens)
        else:
            batches += bucket_by_length(some, _Piece.shape, max_tokens)
    return batches


def _own_batches(forward: Forward, pieces: Sequence[_Piece], max_tokens: int) -> list[list[_Piece]]:
    """This rank's micro-batches: as many as any other's, and of the same layers in the same order.

    A forward or backward pass of a sharded model is everybody's; who has nothing more to do goes through one of the
    step's pieces without effect.
    """
    own: list[list[_Piece]] = []
    for layer in dict.fromkeys(piece.part.layer for piece in pieces):
        some = [piece for piece in pieces if piece.part.layer == layer]
        shares = [_batches(forward, share, max_tokens) for share in divide_among_ranks(some, forward.ranks.count)]
        idle = [replace(min(some, key=_Piece.tokens), records=math.inf)]
        mine = shares[forward.ranks.rank]
        own += mine + [idle] * (max(len(share) for share in shares) - len(mine))
    return own


def divide_among_ranks(pieces: Sequence[_Piece], ranks: int) -> list[list[_Piece]]:
    """The pieces of each rank: of every draw nearly the same number of tokens, so that no rank sees one set only."""
    shares: list[list[_Piece]] = [[] for _ in range(ranks)]
    loads = [0] * ranks
    for draw in dict.fromkeys(piece.draw for piece in pieces):
        of_draw = [0] * ranks
        for piece in sorted((one for one in pieces if one.draw == draw), key=lambda one: -one.tokens()):
            rank = min(range(ranks), key=lambda one: (of_draw[one], loads[one]))
            shares[rank].append(piece)
            of_draw[rank] += piece.tokens()
            loads[rank] += piece.tokens()
    return shares


class _MicroBatch:
    """What goes through the model at once."""

    def __init__(self, forward: Forward, pieces: Sequence[_Piece], epoch: int, totals: Tensor) -> None:
        """`totals`, the step's mean of each draw's term, (draws,), is added to."""
        self._forward, self._epoch, self._totals = forward, epoch, totals
        self._pieces = sorted(pieces, key=lambda piece: (piece.draw, piece.places[0]))
        self._chunks = [chunk for piece in self._pieces for chunk in piece.chunks]
        self._targets = forward.targets(self._chunks)  # (N,)

    def loss(self) -> Tensor:
        """The micro-batch's part of the step's loss, with gradients."""
        forward, layer = self._forward, self._pieces[0].part.layer
        if layer is not None:
            states = forward.states(self._chunks, layer)  # (N, d)
            return sum_scalars(self._term(one, slice(one.start, one.stop), states=states) for one in self._sections())
        hidden = forward.hidden(self._chunks)  # (N, H)
        if forward.head is None:
            return sum_scalars(
                self._term(one, slice(one.start, one.stop), logits=hidden[one.start : one.stop])
                for one in self._sections()
            )
        at_once = rows_per_slice(forward.vocabulary)
        self._take_long_records_apart(hidden.detach(), at_once)
        of_slice = {}
        for one in self._sections():
            if one.pieces[0].part.whole_records:
                cuts = slices_of_groups(one.start, one.counts, at_once)
            else:
                cuts = slices(one.start, one.stop, at_once)
            of_slice.update({cut.start: (one, cut) for cut in cuts})
        return sliced_loss(
            hidden,
            forward.head,
            [cut for _, cut in of_slice.values()],
            lambda logits, cut: self._term(of_slice[cut.start][0], cut, logits=logits),
            dtype=forward.autocast,
        )

    def _sections(self) -> list[_Section]:
        sections: list[_Section] = []
        start = 0
        for piece in self._pieces:
            count = len(piece.index)
            last = sections[-1].pieces[-1] if sections else None
            if last is None or last.part is not piece.part or last.draw != piece.draw:
                sections.append(_Section([], start, []))
            sections[-1].pieces.append(piece)
            sections[-1].counts.append(count)
            start += count
        return sections

    def _term(self, section: _Section, cut: slice, *, logits: Tensor = _EMPTY, states: Tensor | None = None) -> Tensor:
        """The weighted part of the loss that the rows of `cut`, all of one section, are."""
        part = section.pieces[0].part
        corpus = part.corpus
        index = torch.cat([piece.index for piece in section.pieces])
        index = index[cut.start - section.start : cut.stop - section.start].to(self._forward.device)
        rows = Rows(
            index=index,
            record=corpus.record[index],
            alternate=corpus.alternate[index],
            targets=self._targets[cut],
            epoch=self._epoch,
            logits=logits,
            states=_EMPTY if states is None else states[cut],
        )
        values = part.term(rows)
        mean = (values * corpus.share[index].to(values.dtype)).sum() / section.pieces[0].records
        self._totals[section.pieces[0].draw] += mean.detach()
        return part.weight * part.share * mean

    def _take_long_records_apart(self, hidden: Tensor, at_once: int) -> None:
        """Gives records whose logits would not fit into a slice, of terms that need them whole, a linear term."""
        start = 0
        for number, piece in enumerate(self._pieces):
            count = len(piece.index)
            if piece.part.whole_records and count > at_once:
                rows = slice(start, start + count)
                found = self._forward.losses_and_entropies(hidden[rows], self._targets[rows])
                self._pieces[number] = replace(piece, part=_linear(piece, found, self._epoch))
            start += count


def _linear(record: _Piece, found: Tensor, epoch: int) -> WeightedTerm:
    """The part for one record that is taken apart: same value, same gradient, whatever of its rows are seen at once.

    The term depends on the model through the record's token losses l and entropies alone. So with c = d(sum of values)
    / dl, found here from `found` (n, 2), values + c * (l - l as a constant), and the same of the entropies, has the
    value and the gradient of the term.
    """
    part, corpus = record.part, record.part.corpus
    leaf, spread = (column.detach().clone().requires_grad_(True) for column in found.unbind(1))
    index = record.index.to(found.device)
    targets = torch.cat([chunk.ids[chunk.scored] for chunk in record.chunks]).to(found.device)
    with torch.enable_grad():
        values = part.term(
            Rows(
                index=index,
                record=corpus.record[index],
                alternate=corpus.alternate[index],
                targets=targets,
                epoch=epoch,
                given_loss=leaf,
                given_entropy=spread,
            )
        )
        of_loss, of_entropy = torch.autograd.grad(values.sum(), (leaf, spread), allow_unused=True)
    start, constant = int(index[0]), values.detach()

    def term(rows: Rows) -> Tensor:
        place = rows.index - start
        whole = constant[place]
        if of_loss is not None:
            whole = whole + of_loss[place] * (rows.loss - leaf.detach()[place])
        if of_entropy is not None:
            whole = whole + of_entropy[place] * (rows.entropy - spread.detach()[place])
        return whole

    return replace(part, term=term, whole_records=False)


@torch.no_grad()
def _losses_and_entropies(forward: Forward, pieces: Sequence[_Piece], max_tokens: int) -> Tensor:
    """Token losses and entropies of the pieces' rows, in their order: (N, 2)."""
    order = {id(piece): number for number, piece in enumerate(pieces)}
    found: list[Tensor] = [_EMPTY] * len(pieces)
    for batch in _batches(forward, pieces, max_tokens):
        chunks = [chunk for piece in batch for chunk in piece.chunks]
        both = forward.run(partial(chunk_losses_and_entropies, forward, chunks))
        for piece, part in zip(batch, torch.split(both, [len(piece.index) for piece in batch]), strict=True):
            found[order[id(piece)]] = part
    return torch.cat(found)


def chunk_losses_and_entropies(forward: Forward, chunks: Sequence[Chunk]) -> Tensor:
    """Token losses and entropies of chunks that go through the model together: (N, 2), without gradients."""
    return forward.losses_and_entropies(forward.hidden(chunks), forward.targets(chunks))


def sum_scalars(values: Iterator[Tensor]) -> Tensor:
    """The sum of at least one scalar."""
    return torch.stack(list(values)).sum()
