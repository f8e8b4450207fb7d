"""The forward pass where it is needed only: hidden states of the whole sequence, logits at scored positions."""

import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import TypeVar

import torch
from torch import Tensor, nn
from transformers import Cache, PreTrainedModel

from core.lm.attention import PackedRecords, is_switched, masking
from core.lm.batch_layout import BatchLayout, find_layout, known_layout, trial_length, trial_row_length
from core.lm.chunked_head import head_logits, rows_per_slice, slices
from core.lm.data import Chunk, micro_batches, pack, packed_micro_batches, pad
from core.lm.decoding import Decoding, find_decoding
from core.lm.equivalence import plain_head, refuse_unless_causal
from core.lm.errors import CoreError
from core.lm.flops import METER, ComputeUsage, ModelFlops, squared_lengths, trained_share
from core.lm.losses import at_least_float32, token_entropy, token_nll
from core.lm.model import context_length
from core.lm.process_group import SINGLE_RANK, Ranks
from core.lm.residual_stream import LayerReached, find_layers, layer_count, stopping_after
from core.lm.rotary import reset_dynamic_factors, unscaled_length
from core.lm.sharding import Sharded

T = TypeVar("T")

Head = Callable[[Tensor], Tensor]
"""Last hidden states (N, H) to logits (N, V), at least float32."""

_FIRST = 64
"""Tokens of a record up to which every model is tried before it is used."""


class Forward:
    """A causal model in two parts, backbone and head, so that (B, T, V) logits never stand in memory.

    Records lie behind each other in one row, without padding and without attention across records, and the head gets
    the scored positions alone. Whether that gives what plain transformers gives of one record is tried, not guessed:
    models that cannot be packed are run padded or a record at a time (`packed` is False), and models that cap, scale
    or transform between backbone and head are run as a whole, their `hidden` being their logits (`head` is None).
    `autocast` is the dtype of products with weights; what is summed is in at least float32.
    `ranks` have the same model; once it is sharded, everything is done `within`, by all of them at a time.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        *,
        autocast: torch.dtype | None = None,
        ranks: Ranks = SINGLE_RANK,
        longest: int | None = None,
        row: int | None = None,
    ) -> None:
        """`longest` is the length of the longest record to come, and `row` that of the longest row, in tokens: the
        trial is of such lengths. None: longer ones are tried as they come, which a sharded model cannot.

        Raises CoreError `not_causal`, `not_repeatable`, `unusable_model` and `inconsistent_model`.
        """
        self.model = model
        self.autocast = autocast
        self.ranks = ranks
        self._longest = context_length(model, sys.maxsize) if longest is None else longest
        self._sharded: Sharded | None = None
        self._unscaled = unscaled_length(model.config)
        tried = known_layout(model)
        if tried is None:
            refuse_unless_causal(model, trial_length(model, _FIRST))
        self.head: nn.Linear | None = plain_head(model)
        first = trial_length(model, _FIRST)
        self._arrangement = tried or find_layout(model, self._tried, first, trial_row_length(model, _FIRST))
        self._prepared = 0, 0
        """Tokens of a record and of a row up to which no trial is wanted any more."""
        self._prepare(longest or 0, row or 0)
        self._flops = ModelFlops.of(model)
        self._trained: float | None = None
        self._decoding: Decoding | None = None

    @property
    def packed(self) -> bool:
        """Whether records lie behind each other in one row."""
        return self._arrangement.packs

    @property
    def device(self) -> torch.device:
        device: torch.device = next(self.model.parameters()).device
        return device

    @property
    def vocabulary(self) -> int:
        """V, the width of the logits."""
        return self.head.out_features if self.head is not None else int(self.model.config.get_text_config().vocab_size)

    def shard(self) -> None:
        """Spreads the model over the ranks, where there are several; its parameters are others afterwards.

        Raises CoreError `one_record_a_forward` where some records need a forward of their own: the ranks would not have
        as many forwards each.
        """
        if self.ranks.count > 1:
            if self._arrangement.kind == "single" or self.factors_change_within(self._longest):
                raise CoreError(
                    "one_record_a_forward",
                    "records of this model cannot share a forward pass, which several devices need: use one device",
                )
            try:
                layers = list(find_layers(self.model)[2])
            except AttributeError:
                layers = []
            self._sharded = Sharded(self.model, layers, self.ranks)

    def run(self, work: Callable[[], T]) -> T:
        """Does what needs the model: one forward, by every rank, and what follows from it."""
        return work() if self._sharded is None else self._sharded.run(work)

    def _prepare(self, longest: int, row: int) -> None:
        """Tries again with longer records or rows, where the model may treat them in another way than those so far."""
        if self.packed and not is_switched(self.model):  # another part of the job has met records that do not pack
            found = known_layout(self.model)
            self._arrangement = found or find_layout(
                self.model, self._tried, self._arrangement.tried, self._arrangement.tried_row
            )
            self._prepared = 0, 0
        if longest <= self._prepared[0] and row <= self._prepared[1]:
            return  # every step asks
        self._try_again(longest, row)
        self._prepared = max(longest, self._prepared[0]), max(row, self._prepared[1])

    def _try_again(self, longest: int, row: int) -> None:
        length = trial_length(self.model, longest) if longest > self._arrangement.tried else 0
        together = trial_row_length(self.model, row) if self.packed and row > self._arrangement.tried_row else 0
        if self._enough(length, together):
            return
        self._arrangement = known_layout(self.model) or self._arrangement  # another part of the job may have tried them
        if self._enough(length, together):
            return
        if self._sharded is not None:
            raise ValueError("records or rows are longer than was said before the model was sharded")
        length, together = max(length, self._arrangement.tried), max(together, self._arrangement.tried_row)
        self._arrangement = find_layout(self.model, self._tried, length, together)

    def _prepare_for(self, chunks: Sequence[Chunk]) -> None:
        lengths = [len(chunk.ids) for chunk in chunks]
        self._prepare(max(lengths), sum(lengths))

    def _enough(self, length: int, row: int) -> bool:
        return length <= self._arrangement.tried and (row <= self._arrangement.tried_row or not self.packed)

    def _tried(self, arrangement: BatchLayout, chunks: Sequence[Chunk]) -> Tensor:
        """The chunks' logits, so arranged, in the precision of the weights."""
        rows = at_least_float32(self._at_scored(chunks, self._backbone, before=1, arrangement=arrangement))
        return rows if self.head is None else head_logits(rows, self.head.weight, self.head.bias, None)

    def precision(self) -> AbstractContextManager[object]:
        """The arithmetic of the backbone."""
        return torch.autocast(self.device.type, self.autocast) if self.autocast is not None else nullcontext()

    def batches(self, chunks: Sequence[Chunk], max_tokens: int) -> list[list[Chunk]]:
        """The chunks, each once, in batches for one forward of at most `max_tokens`, padding counted where there is
        any; a longer chunk by itself."""
        lengths = [len(chunk.ids) for chunk in chunks]
        longest = max(lengths, default=0)
        self._prepare(longest, min(sum(lengths), max(longest, max_tokens)))
        if self._arrangement.kind == "single":
            return [[chunk] for chunk in sorted(chunks, key=lambda chunk: -len(chunk.ids))]
        return (packed_micro_batches if self.packed else micro_batches)(chunks, max_tokens)

    def hidden(self, chunks: Sequence[Chunk]) -> Tensor:
        """What the head predicts the chunks' scored tokens from: (N, H), in order of chunk and position."""
        self._prepare_for(chunks)
        with self.precision():
            rows = at_least_float32(self._at_scored(chunks, self._backbone, before=1, arrangement=self._arrangement))
        self._count(chunks)
        return rows

    def states(self, chunks: Sequence[Chunk], layer: int) -> Tensor:
        """The residual stream after `layer` (from 0) at the positions that hold scored tokens: (N, d). Nothing above
        that layer is computed. Raises AttributeError for a model whose layers are not found."""
        caught: list[Tensor] = []
        self._prepare_for(chunks)

        def run(ids: Tensor, records: PackedRecords | None) -> Tensor:
            with suppress(LayerReached):
                self._backbone(ids, records)
            return caught.pop()

        with stopping_after(self.model, layer, caught), self.precision():
            rows = at_least_float32(self._at_scored(chunks, run, before=0, arrangement=self._arrangement))
        self._count(chunks, depth=(layer + 1) / layer_count(self.model), head=False)
        return rows

    def _count(self, chunks: Sequence[Chunk], *, depth: float = 1.0, head: bool = True) -> None:
        """Meters a pass; with its way back, where gradients are wanted of it."""
        lengths = [len(chunk.ids) for chunk in chunks]
        if torch.is_grad_enabled() and self._trained is None:
            self._trained = trained_share(self.model)
        of = (sum(lengths), squared_lengths(lengths))
        if torch.is_grad_enabled() and self._trained:
            METER.count(ComputeUsage(of[0], self._flops.update(*of, trained=self._trained, depth=depth, head=head)))
        else:
            METER.count(ComputeUsage(of[0], self._flops.forward(*of, depth=depth, head=head)))

    def _at_scored(
        self,
        chunks: Sequence[Chunk],
        run: Callable[[Tensor, PackedRecords | None], Tensor],
        *,
        before: int,
        arrangement: BatchLayout,
    ) -> Tensor:
        """Rows of what `run` gives, (B, T, .), at (or one `before`) the scored positions."""
        groups = list(arrangement.groups(chunks))
        if len(groups) == 1:
            return self._together(chunks, run, before, arrangement)
        pieces: list[Tensor] = [torch.empty(0)] * len(chunks)
        for group in groups:
            members = [chunks[place] for place in group]
            rows = self._together(members, run, before, arrangement)
            for place, piece in zip(group, torch.split(rows, [int(m.scored.sum()) for m in members]), strict=True):
                pieces[place] = piece
        return torch.cat(pieces)

    def _together(
        self,
        chunks: Sequence[Chunk],
        run: Callable[[Tensor, PackedRecords | None], Tensor],
        before: int,
        arrangement: BatchLayout,
    ) -> Tensor:
        """The same, by one forward."""
        records = None
        if arrangement.packs:
            ids, scored, lengths = pack(chunks)
            records = PackedRecords(lengths, masked=arrangement.kind == "masked")
        else:
            batch = pad(chunks, 0)
            # No attention mask: padding is on the right, so the causal mask hides it, and the kernels are quicker.
            ids, scored = batch.ids, batch.scored
        states = run(ids.to(self.device), records)
        # A record's first token is never scored, so that what is before a scored token is of the same record.
        places = scored.flatten().nonzero()[:, 0].to(self.device) - before
        return states.flatten(0, 1)[places]

    def _backbone(self, ids: Tensor, records: PackedRecords | None) -> Tensor:
        """Last hidden states, or logits where there is no head: ids (B, T) -> (B, T, H or V)."""
        model = self.model.base_model if self.head is not None else self.model
        if self._unscaled is not None:
            reset_dynamic_factors(self.model)
        if records is None:
            found = model(input_ids=ids, use_cache=False)
        else:
            places = torch.cat([torch.arange(length) for length in records.lengths])[None].to(self.device)
            # a mask of four dimensions is passed on as it is, so that none is made; the attention does not look at it
            mask = None if records.masked else torch.empty(1, 1, 1, 1, device=self.device)
            with masking(records) if records.masked else nullcontext():
                found = model(
                    input_ids=ids, use_cache=False, position_ids=places, attention_mask=mask, packed_records=records
                )
        states: Tensor = found.last_hidden_state if self.head is not None else found.logits
        return states

    def prepare_decoding(self, longest: int) -> Decoding:
        """How texts of up to `longest` tokens are continued, token by token."""
        self._decoding = find_decoding(self.model, self._steps, longest, apart=self._arrangement.kind == "single")
        return self._decoding

    def factors_change_within(self, length: int) -> bool:
        """Whether a text comes to choose rotary factors of its own before it is `length` tokens long."""
        return self._unscaled is not None and length > self._unscaled

    def rereads_at(self, length: int) -> bool:
        """Whether a text of `length` tokens is read from its beginning, whatever a cache holds."""
        return self._decoding is not None and self._decoding.rereads_at(length)

    def next_logits(
        self, ids: Tensor, cache: Cache | None, present: Tensor | None = None
    ) -> tuple[Tensor, Cache | None]:
        """The logits after ids (B, T), which follow what `cache` holds (None: nothing): (B, V), and the cache then,
        None where the model keeps none.

        `present` (B, all so far) bool is False where a row is filled up on its left; None: nowhere.
        """
        before = _held(cache)  # now: it grows
        way = self._decoding or self.prepare_decoding(ids.shape[1])
        with self.precision():
            states, kept = self._read(way, ids, cache, present)
        self._count_following(ids, before, present)
        return self.logits(at_least_float32(states)), kept

    def _steps(
        self, way: Decoding, ids: Tensor, cache: Cache | None, present: Tensor | None
    ) -> tuple[Tensor, Cache | None]:
        """The same in a way that is tried, in the precision of the weights."""
        states, kept = self._read(way, ids, cache, present)
        states = at_least_float32(states)
        return states if self.head is None else head_logits(states, self.head.weight, self.head.bias, None), kept

    def _read(
        self, way: Decoding, ids: Tensor, cache: Cache | None, present: Tensor | None
    ) -> tuple[Tensor, Cache | None]:
        """The last hidden states, or logits, after the last of the ids: (B, H or V), and the cache."""
        part = self.model.base_model if self.head is not None else self.model
        if self._unscaled is not None and cache is None:
            reset_dynamic_factors(self.model)
        options: dict[str, object] = {"use_cache": way.cache is not None}
        if way.cache is not None:
            options[way.cache] = cache
        if present is not None:
            options["attention_mask"] = present.long()
        if way.positions:
            if present is not None:
                places = (present.cumsum(1) - 1).clamp(min=0)[:, -ids.shape[1] :]
            else:
                before = _held(cache)
                places = torch.arange(before, before + ids.shape[1], device=ids.device)[None].expand(len(ids), -1)
            options["position_ids"] = places
        found = part(input_ids=ids, **options)
        states = found.last_hidden_state if self.head is not None else found.logits
        kept = None if way.cache is None else getattr(found, way.cache, None)
        return states[:, -1], kept if isinstance(kept, Cache) else None

    def _count_following(self, ids: Tensor, before: int, present: Tensor | None) -> None:
        rows, new = ids.shape
        if present is None:
            first, last = [before] * rows, [before + new] * rows
        else:
            last = present.sum(1).tolist()
            first = [whole - fresh for whole, fresh in zip(last, present[:, -new:].sum(1).tolist(), strict=True)]
        tokens = sum(last) - sum(first)
        METER.count(ComputeUsage(tokens, self._flops.forward(tokens, squared_lengths(last) - squared_lengths(first))))

    def targets(self, chunks: Sequence[Chunk]) -> Tensor:
        """The scored tokens: (N,), in the same order."""
        return torch.cat([chunk.ids[chunk.scored] for chunk in chunks]).to(self.device)

    def logits(self, hidden: Tensor) -> Tensor:
        """(N, H) -> (N, V), at least float32, with gradients for whatever requires them."""
        return hidden if self.head is None else head_logits(hidden, self.head.weight, self.head.bias, self.autocast)

    @torch.no_grad()
    def losses(self, hidden: Tensor, targets: Tensor) -> Tensor:
        """-log p of each target: (N, H), (N,) -> (N,), without gradients."""
        cuts = slices(0, len(hidden), rows_per_slice(self.vocabulary))
        return torch.cat([token_nll(self.logits(hidden[cut]), targets[cut]) for cut in cuts])

    @torch.no_grad()
    def losses_and_entropies(self, hidden: Tensor, targets: Tensor) -> Tensor:
        """-log p of each target, and the entropy of what was predicted there: (N, H), (N,) -> (N, 2), without
        gradients."""
        found = []
        for cut in slices(0, len(hidden), rows_per_slice(self.vocabulary)):
            logits = self.logits(hidden[cut])
            found.append(torch.stack([token_nll(logits, targets[cut]), token_entropy(logits)], dim=1))
        return torch.cat(found)

    def frozen_head(self) -> Head:
        """The head as it is now; later training does not change it."""
        if self.head is None:
            return lambda hidden: hidden
        weight, bias = (None if one is None else self._frozen(one) for one in (self.head.weight, self.head.bias))
        return lambda hidden: head_logits(hidden, weight, bias, self.autocast)

    def _frozen(self, weight: Tensor) -> Tensor:
        """The weight as it is now, in the dtype of the products; the weight itself where nothing will change it."""
        dtype = weight.dtype if self.autocast is None else self.autocast
        return weight.detach().to(dtype, copy=weight.requires_grad)


def _held(cache: Cache | None) -> int:
    """The places that a token of each row can look back at."""
    try:
        return 0 if cache is None else int(cache.get_seq_length())
    except (AttributeError, ValueError):  # no layer of it attends, or it keeps no count
        return 0
