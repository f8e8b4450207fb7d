"""The objective of an optimiser step, and its gradient, which does not depend on the size of the micro-batches."""

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
    """The N scored tokens that a term is computed from: rows of one set, in ascending order of `index`."""

    index: Tensor  # (N,) row numbers in the set
    record: Tensor  # (N,) record numbers in the set
    alternate: Tensor  # (N,) bool: the row is of the record's alternate; only for methods with `pairs`
    targets: Tensor  # (N,) the true tokens
    epoch: int  # from 0
    logits: Tensor = _EMPTY  # (N, V) at least float32; empty for terms in a layer and for linearized records
    states: Tensor = _EMPTY  # (N, d) the residual stream at the positions that hold the tokens, for terms in a layer
    given_loss: Tensor | None = None  # (N,) computed from the logits where it is None
    given_entropy: Tensor | None = None  # (N,) likewise

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
"""A value for each row, (N,). A record's value is the mean over its rows, a set's value the mean over its records."""


@dataclass(frozen=True, eq=False)
class WeightedTerm:
    """One set's addend of the objective: weight * share * (mean of `term` over the step's records of the set)."""

    name: str  # forget, retain, unseen, rehearsal or spliced
    tokenized: TokenizedSet
    term: Term
    weight: float
    share: float = 1.0
    """The set's share of its term where several sets mix, as retain sets do; their shares sum to 1."""
    whole_records: bool = False
    """The term needs all rows of a record at once, and depends on the model through their `loss` and `entropy` only."""
    row_term: Term | None = None
    """Added to `term`; each row's value depends on that row alone, and on all of its logits."""
    layer: int | None = None
    """The layer whose hidden states the term is computed from; None: the logits."""
    controlled: bool = False
    """A controller sets the term's weight, and needs its value even while the weight is 0."""

    @property
    def computed(self) -> bool:
        return self.controlled or self.weight * self.share != 0


TermBatch = tuple[WeightedTerm, Sequence[int]]
"""A weighted term, and the numbers of its set's records in one step."""


@dataclass(frozen=True, eq=False)
class _ChunkGroup:
    """Chunks of one record that stay in one micro-batch."""

    batch_number: int  # of the TermBatch in the step
    weighted: WeightedTerm
    divisor: float  # the TermBatch's records in the whole step; infinite for a group without effect
    indices: Sequence[int]  # of the chunks, in their set

    @property
    def chunks(self) -> list[Chunk]:
        return [self.weighted.tokenized.chunks[index] for index in self.indices]

    @property
    def rows(self) -> Tensor:
        """Row numbers in the set: (n,), on the CPU."""
        return torch.cat([self.weighted.tokenized.chunk_rows(index) for index in self.indices])

    def tokens(self) -> int:
        return sum(len(chunk.ids) for chunk in self.chunks)

    def shape(self) -> tuple[int, int]:
        """(chunks, tokens of the longest), as padding sees the group."""
        return len(self.indices), max(len(chunk.ids) for chunk in self.chunks)


@dataclass(frozen=True, eq=False)
class _TermSpan:
    """Consecutive rows of a micro-batch that belong to one weighted term."""

    groups: list[_ChunkGroup]
    start: int
    row_counts: list[int]  # of each group

    @property
    def stop(self) -> int:
        return self.start + sum(self.row_counts)


@dataclass(frozen=True)
class StepValues:
    """A step's loss, each term's unweighted value by name, and the tokens that went through the model."""

    loss: float
    terms: dict[str, float]
    tokens: int


def accumulate_gradient(
    forward: Forward, batches: Sequence[TermBatch], *, epoch: int, max_tokens: int, backward: Callable[[Tensor], None]
) -> StepValues:
    """Adds the gradient of sum_terms weight * share * mean_records(term) to the model's `.grad`.

    The means divide by the record counts of the whole step, which are known before the first forward: so the result
    does not depend on `max_tokens`, the tokens of one forward. Records of all terms share the forwards, except that
    each layer whose states are needed has its own; terms of weight 0 are not computed. Ranks share the step: each
    computes the gradient of its own micro-batches, which `backward` has to add up, and all get the step's values.
    """
    groups: list[_ChunkGroup] = []
    for number, (weighted, records) in enumerate(batches):
        if weighted.computed:
            groups.extend(_chunk_groups(forward, number, weighted, sorted(records), epoch, max_tokens))
    totals = torch.zeros(len(batches), dtype=torch.float64, device=forward.device)
    for micro_batch in _micro_batches_of_rank(forward, groups, max_tokens):
        backward(forward.run(_MicroBatch(forward, micro_batch, epoch, totals).loss))
    values = forward.ranks.all_reduce(totals).tolist()
    terms: dict[str, float] = {}
    loss = 0.0
    for (weighted, _), value in zip(batches, values, strict=True):
        if weighted.computed:
            terms[weighted.name] = terms.get(weighted.name, 0.0) + weighted.share * value
            loss += weighted.weight * weighted.share * value
    return StepValues(loss=loss, terms=terms, tokens=sum(group.tokens() for group in groups))


def _chunk_groups(
    forward: Forward, number: int, weighted: WeightedTerm, records: Sequence[int], epoch: int, max_tokens: int
) -> Iterator[_ChunkGroup]:
    """The records' chunks, one by one; a record's chunks stay together where its term needs them all.

    Such a record that does not fit into one micro-batch gets a linear term instead, chunk by chunk.
    """
    for record in records:
        indices = weighted.tokenized.record_chunks[record]
        single_chunks = [_ChunkGroup(number, weighted, len(records), [index]) for index in indices]
        whole_record = _ChunkGroup(number, weighted, len(records), indices)
        if not weighted.whole_records:
            yield from single_chunks
        elif len(_micro_batches(forward, single_chunks, max_tokens)) == 1:
            yield whole_record
        else:
            linear = _linearized(whole_record, _losses_and_entropies(forward, single_chunks, max_tokens), epoch)
            yield from (replace(group, weighted=linear) for group in single_chunks)


def _micro_batches(forward: Forward, groups: Sequence[_ChunkGroup], max_tokens: int) -> list[list[_ChunkGroup]]:
    """The groups in micro-batches of at most `max_tokens`; terms of different layers share none."""
    micro_batches: list[list[_ChunkGroup]] = []
    for layer_groups in _by_layer(groups):
        if forward.packed:
            micro_batches += bin_pack(layer_groups, _ChunkGroup.tokens, max_tokens)
        else:
            micro_batches += bucket_by_length(layer_groups, _ChunkGroup.shape, max_tokens)
    return micro_batches


def _micro_batches_of_rank(forward: Forward, groups: Sequence[_ChunkGroup], max_tokens: int) -> list[list[_ChunkGroup]]:
    """This rank's micro-batches: every rank has as many, of the same layers in the same order.

    All ranks take part in each forward and backward pass of a sharded model. A rank that has no micro-batch left runs
    the layer's smallest group again, without effect.
    """
    own: list[list[_ChunkGroup]] = []
    for layer_groups in _by_layer(groups):
        shares = divide_among_ranks(layer_groups, forward.ranks.count)
        micro_batches = [_micro_batches(forward, share, max_tokens) for share in shares]
        own_micro_batches = micro_batches[forward.ranks.rank]
        idle = [replace(min(layer_groups, key=_ChunkGroup.tokens), divisor=math.inf)]
        own += own_micro_batches + [idle] * (max(map(len, micro_batches)) - len(own_micro_batches))
    return own


def _by_layer(groups: Sequence[_ChunkGroup]) -> Iterator[list[_ChunkGroup]]:
    """The groups of each layer, in the order in which the layers first occur."""
    for layer in dict.fromkeys(group.weighted.layer for group in groups):
        yield [group for group in groups if group.weighted.layer == layer]


def divide_among_ranks(groups: Sequence[_ChunkGroup], ranks: int) -> list[list[_ChunkGroup]]:
    """The groups of each rank: nearly as many tokens of each term batch, so that no rank gets one set only."""
    shares: list[list[_ChunkGroup]] = [[] for _ in range(ranks)]
    loads = [0] * ranks  # tokens
    for number in dict.fromkeys(group.batch_number for group in groups):
        batch_loads = [0] * ranks
        largest_first = sorted(
            (group for group in groups if group.batch_number == number), key=lambda group: -group.tokens()
        )
        for group in largest_first:
            rank = min(range(ranks), key=lambda rank: (batch_loads[rank], loads[rank]))
            shares[rank].append(group)
            batch_loads[rank] += group.tokens()
            loads[rank] += group.tokens()
    return shares


class _MicroBatch:
    """The chunk groups of one forward pass, and their part of the loss."""

    def __init__(self, forward: Forward, groups: Sequence[_ChunkGroup], epoch: int, totals: Tensor) -> None:
        """`totals`, (term batches,), collects each term batch's mean over the step."""
        self._forward, self._epoch, self._totals = forward, epoch, totals
        self._groups = sorted(groups, key=lambda group: (group.batch_number, group.indices[0]))
        self._chunks = [chunk for group in self._groups for chunk in group.chunks]
        self._targets = forward.targets(self._chunks)  # (N,)

    def loss(self) -> Tensor:
        """The micro-batch's part of the step's loss, with gradients."""
        forward, layer = self._forward, self._groups[0].weighted.layer
        if layer is not None:
            states = forward.states(self._chunks, layer)  # (N, d)
            return _sum_scalars(
                self._span_loss(span, slice(span.start, span.stop), states=states) for span in self._spans()
            )
        hidden = forward.hidden(self._chunks)  # (N, H)
        if forward.head is None:  # `hidden` are the logits
            return _sum_scalars(
                self._span_loss(span, slice(span.start, span.stop), logits=hidden[span.start : span.stop])
                for span in self._spans()
            )
        max_rows = rows_per_slice(forward.vocabulary)
        self._linearize_long_records(hidden.detach(), max_rows)
        span_cuts: dict[int, tuple[_TermSpan, slice]] = {}  # by the cut's first row
        for span in self._spans():
            if span.groups[0].weighted.whole_records:
                cuts = slices_of_groups(span.start, span.row_counts, max_rows)
            else:
                cuts = slices(span.start, span.stop, max_rows)
            span_cuts.update({cut.start: (span, cut) for cut in cuts})
        return sliced_loss(
            hidden,
            forward.head,
            [cut for _, cut in span_cuts.values()],
            lambda logits, cut: self._span_loss(span_cuts[cut.start][0], cut, logits=logits),
            dtype=forward.autocast,
        )

    def _spans(self) -> list[_TermSpan]:
        spans: list[_TermSpan] = []
        start = 0
        for group in self._groups:
            count = len(group.rows)
            last = spans[-1].groups[-1] if spans else None
            if last is None or last.weighted is not group.weighted or last.batch_number != group.batch_number:
                spans.append(_TermSpan([], start, []))
            spans[-1].groups.append(group)
            spans[-1].row_counts.append(count)
            start += count
        return spans

    def _span_loss(
        self, span: _TermSpan, cut: slice, *, logits: Tensor = _EMPTY, states: Tensor | None = None
    ) -> Tensor:
        """The weighted loss of the rows of `cut`, a part of the span. Adds their part of the mean to `totals`."""
        first = span.groups[0]
        weighted, tokenized = first.weighted, first.weighted.tokenized
        index = torch.cat([group.rows for group in span.groups])
        index = index[cut.start - span.start : cut.stop - span.start].to(self._forward.device)
        rows = Rows(
            index=index,
            record=tokenized.record[index],
            alternate=tokenized.alternate[index],
            targets=self._targets[cut],
            epoch=self._epoch,
            logits=logits,
            states=_EMPTY if states is None else states[cut],
        )
        values = weighted.term(rows)
        if weighted.row_term is not None:
            values = values + weighted.row_term(rows)
        mean = (values * tokenized.row_weight[index].to(values.dtype)).sum() / first.divisor
        self._totals[first.batch_number] += mean.detach()
        return weighted.weight * weighted.share * mean

    def _linearize_long_records(self, hidden: Tensor, max_rows: int) -> None:
        """Gives whole-record terms a linear term for records whose logits do not fit into one slice."""
        start = 0
        for number, group in enumerate(self._groups):
            count = len(group.rows)
            if group.weighted.whole_records and count > max_rows:
                rows = slice(start, start + count)
                outputs = self._forward.losses_and_entropies(hidden[rows], self._targets[rows])
                self._groups[number] = replace(group, weighted=_linearized(group, outputs, self._epoch))
            start += count


def _linearized(record: _ChunkGroup, outputs: Tensor, epoch: int) -> WeightedTerm:
    """A linear term for one whole record: same value and gradient, for any selection of the record's rows at once.

    `outputs` (n, 2) are the record's present token losses l and entropies H, through which alone the term depends on
    the model. So with c = d(sum of values)/dl at the present l, values + c * (l - l as a constant), and the same for
    H, has the term's value and gradient.
    """
    weighted, tokenized = record.weighted, record.weighted.tokenized
    losses, entropies = (column.detach().clone().requires_grad_(True) for column in outputs.unbind(1))
    index = record.rows.to(outputs.device)
    targets = torch.cat([chunk.ids[chunk.scored] for chunk in record.chunks]).to(outputs.device)
    with torch.enable_grad():
        values = weighted.term(
            Rows(
                index=index,
                record=tokenized.record[index],
                alternate=tokenized.alternate[index],
                targets=targets,
                epoch=epoch,
                given_loss=losses,
                given_entropy=entropies,
            )
        )
        loss_slope, entropy_slope = torch.autograd.grad(values.sum(), (losses, entropies), allow_unused=True)
    first_row, constant = int(index[0]), values.detach()

    def term(rows: Rows) -> Tensor:
        place = rows.index - first_row
        value = constant[place]
        if loss_slope is not None:
            value = value + loss_slope[place] * (rows.loss - losses.detach()[place])
        if entropy_slope is not None:
            value = value + entropy_slope[place] * (rows.entropy - entropies.detach()[place])
        return value

    return replace(weighted, term=term, whole_records=False)


@torch.no_grad()
def _losses_and_entropies(forward: Forward, groups: Sequence[_ChunkGroup], max_tokens: int) -> Tensor:
    """Token losses and entropies of the groups' rows, in the groups' order: (N, 2)."""
    order = {id(group): number for number, group in enumerate(groups)}
    outputs: list[Tensor] = [_EMPTY] * len(groups)
    for micro_batch in _micro_batches(forward, groups, max_tokens):
        chunks = [chunk for group in micro_batch for chunk in group.chunks]
        batch_outputs = forward.run(partial(chunk_losses_and_entropies, forward, chunks))
        counts = [len(group.rows) for group in micro_batch]
        for group, group_outputs in zip(micro_batch, torch.split(batch_outputs, counts), strict=True):
            outputs[order[id(group)]] = group_outputs
    return torch.cat(outputs)


def chunk_losses_and_entropies(forward: Forward, chunks: Sequence[Chunk]) -> Tensor:
    """Token losses and entropies of chunks that share one forward pass: (N, 2), without gradients."""
    return forward.losses_and_entropies(forward.hidden(chunks), forward.targets(chunks))


def _sum_scalars(values: Iterator[Tensor]) -> Tensor:
    """The sum of at least one scalar tensor."""
    return torch.stack(list(values)).sum()
