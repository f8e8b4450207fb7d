"""The forward pass, no further than needed: hidden states of the whole sequence, logits at scored positions alone."""

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
from core.lm.decoding import DecodingMode, find_decoding
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
    the scored positions alone. A trial tells whether that gives what plain transformers gives of one record. Models
    that cannot be packed are run padded or a record at a time (`packed` is False). Models that cap, scale or transform
    between backbone and head are run as a whole: their `hidden` are their logits (`head` is None).
    `autocast` is the dtype of products with weights; sums are in at least float32.
    All `ranks` have the same model. Once it is sharded, every use of it goes through `run`, in all ranks at a time.
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
        """Tries the model. `longest` and `row` are the lengths of the longest record and row to come, in tokens.

        Without them, longer records and rows are tried as they come, which a sharded model cannot.
        Raises CoreError `not_causal`, `not_repeatable`, `unusable_model` and `inconsistent_model`.
        """
        self.model = model
        self.autocast = autocast
        self.ranks = ranks
        self._longest = context_length(model, sys.maxsize) if longest is None else longest
        self._sharded: Sharded | None = None
        self._unscaled = unscaled_length(model.config)
        layout = known_layout(model)
        if layout is None:
            refuse_unless_causal(model, trial_length(model, _FIRST))
        self.head: nn.Linear | None = plain_head(model)
        first = trial_length(model, _FIRST)
        self._layout = layout or find_layout(model, self._layout_logits, first, trial_row_length(model, _FIRST))
        self._prepared = 0, 0
        """Tokens of a record and of a row up to which no further trial is needed."""
        self._prepare(longest or 0, row or 0)
        self._flops = ModelFlops.of(model)
        self._trained: float | None = None
        """The share of the weights that gets gradients; None: not looked up yet."""
        self._decoding: DecodingMode | None = None

    @property
    def packed(self) -> bool:
        """Whether records lie behind each other in one row."""
        return self._layout.packs

    @property
    def one_by_one(self) -> bool:
        """Whether no two records share a forward."""
        return self._layout.kind == "single"

    @property
    def device(self) -> torch.device:
        device: torch.device = next(self.model.parameters()).device
        return device

    @property
    def vocabulary(self) -> int:
        """V, the width of the logits."""
        return self.head.out_features if self.head is not None else int(self.model.config.get_text_config().vocab_size)

    def shard(self) -> None:
        """Shards the model over the ranks, where there are several, which replaces its parameters.

        Raises CoreError `one_record_a_forward` where some records need a forward of their own: the ranks would then run
        different numbers of forwards.
        """
        if self.ranks.count > 1:
            if self.one_by_one or self.factors_change_within(self._longest):
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
        """Does work that uses the model, in every rank at a time: one forward, and the computation on its results."""
        return work() if self._sharded is None else self._sharded.run(work)

    def _prepare(self, longest: int, row: int) -> None:
        """Tries longer records or rows, where the model may treat them otherwise than those tried so far."""
        if self.packed and not is_switched(self.model):  # another part of the job has met records that do not pack
            self._layout = known_layout(self.model) or find_layout(
                self.model, self._layout_logits, self._layout.tried_length, self._layout.tried_row_length
            )
            self._prepared = 0, 0
        if longest <= self._prepared[0] and row <= self._prepared[1]:
            return  # every step asks
        self._try_longer(longest, row)
        self._prepared = max(longest, self._prepared[0]), max(row, self._prepared[1])

    def _try_longer(self, longest: int, row: int) -> None:
        layout = self._layout
        length = trial_length(self.model, longest) if longest > layout.tried_length else 0
        row_length = trial_row_length(self.model, row) if self.packed and row > layout.tried_row_length else 0
        if self._is_tried(length, row_length):
            return
        self._layout = known_layout(self.model) or self._layout  # another part of the job may have tried them
        if self._is_tried(length, row_length):
            return
        if self._sharded is not None:
            raise ValueError("records or rows are longer than was said before the model was sharded")
        length = max(length, self._layout.tried_length)
        row_length = max(row_length, self._layout.tried_row_length)
        self._layout = find_layout(self.model, self._layout_logits, length, row_length)

    def _prepare_for(self, chunks: Sequence[Chunk]) -> None:
        lengths = [len(chunk.ids) for chunk in chunks]
        self._prepare(max(lengths), sum(lengths))

    def _is_tried(self, length: int, row_length: int) -> bool:
        return length <= self._layout.tried_length and (row_length <= self._layout.tried_row_length or not self.packed)

    def _layout_logits(self, layout: BatchLayout, chunks: Sequence[Chunk]) -> Tensor:
        """The chunks' logits in a layout that is tried, in the precision of the weights."""
        rows = at_least_float32(self._at_scored(chunks, self._backbone, before=1, layout=layout))
        return rows if self.head is None else head_logits(rows, self.head.weight, self.head.bias, None)

    def precision(self) -> AbstractContextManager[object]:
        """The arithmetic of the backbone."""
        return torch.autocast(self.device.type, self.autocast) if self.autocast is not None else nullcontext()

    def batches(self, chunks: Sequence[Chunk], max_tokens: int) -> list[list[Chunk]]:
        """Returns the chunks, each once, in batches for one forward of at most `max_tokens`, padding included.

        A longer chunk is a batch of its own.
        """
        lengths = [len(chunk.ids) for chunk in chunks]
        longest = max(lengths, default=0)
        self._prepare(longest, min(sum(lengths), max(longest, max_tokens)))
        if self.one_by_one:
            return [[chunk] for chunk in sorted(chunks, key=lambda chunk: -len(chunk.ids))]
        return (packed_micro_batches if self.packed else micro_batches)(chunks, max_tokens)

    def hidden(self, chunks: Sequence[Chunk]) -> Tensor:
        """Returns the states that the chunks' scored tokens are predicted from: (N, H), by chunk and position."""
        self._prepare_for(chunks)
        with self.precision():
            rows = at_least_float32(self._at_scored(chunks, self._backbone, before=1, layout=self._layout))
        self._count(chunks)
        return rows

    def states(self, chunks: Sequence[Chunk], layer: int) -> Tensor:
        """Returns the residual stream after `layer` (from 0) at the positions that hold scored tokens: (N, d).

        Layers above it are not computed. Raises AttributeError for a model whose layers are not found.
        """
        caught: list[Tensor] = []
        self._prepare_for(chunks)

        def run(ids: Tensor, records: PackedRecords | None) -> Tensor:
            with suppress(LayerReached):
                self._backbone(ids, records)
            return caught.pop()

        with stopping_after(self.model, layer, caught), self.precision():
            rows = at_least_float32(self._at_scored(chunks, run, before=0, layout=self._layout))
        self._count(chunks, depth=(layer + 1) / layer_count(self.model), head=False)
        return rows

    def _count(self, chunks: Sequence[Chunk], *, depth: float = 1.0, head: bool = True) -> None:
        """Meters a forward pass, and its backward pass where gradients are enabled."""
        lengths = [len(chunk.ids) for chunk in chunks]
        if torch.is_grad_enabled() and self._trained is None:
            self._trained = trained_share(self.model)
        tokens, pairs = sum(lengths), squared_lengths(lengths)
        if torch.is_grad_enabled() and self._trained:
            flops = self._flops.update(tokens, pairs, trained=self._trained, depth=depth, head=head)
        else:
            flops = self._flops.forward(tokens, pairs, depth=depth, head=head)
        METER.count(ComputeUsage(tokens, flops))

    def _at_scored(
        self,
        chunks: Sequence[Chunk],
        run: Callable[[Tensor, PackedRecords | None], Tensor],
        *,
        before: int,
        layout: BatchLayout,
    ) -> Tensor:
        """Runs the chunks in the layout, and returns the rows (N, .) of the results (B, T, .) at the scored positions.

        `before` 1: at the position before each scored one.
        """
        groups = list(layout.groups(chunks))
        if len(groups) == 1:
            return self._at_scored_of_group(chunks, run, before, layout)
        pieces: list[Tensor] = [torch.empty(0)] * len(chunks)
        for group in groups:
            members = [chunks[place] for place in group]
            rows = self._at_scored_of_group(members, run, before, layout)
            counts = [int(chunk.scored.sum()) for chunk in members]
            for place, piece in zip(group, torch.split(rows, counts), strict=True):
                pieces[place] = piece
        return torch.cat(pieces)

    def _at_scored_of_group(
        self,
        chunks: Sequence[Chunk],
        run: Callable[[Tensor, PackedRecords | None], Tensor],
        before: int,
        layout: BatchLayout,
    ) -> Tensor:
        """Returns the rows of chunks that share one forward."""
        records = None
        if layout.packs:
            ids, scored, lengths = pack(chunks)
            records = PackedRecords(lengths, masked=layout.kind == "masked")
        else:
            batch = pad(chunks, 0)
            # No attention mask: padding is on the right, where the causal mask hides it, and kernels are quicker so.
            ids, scored = batch.ids, batch.scored
        states = run(ids.to(self.device), records)
        # A record's first token is never scored, so the token before a scored one belongs to the same record.
        places = scored.flatten().nonzero()[:, 0].to(self.device) - before
        return states.flatten(0, 1)[places]

    def _backbone(self, ids: Tensor, records: PackedRecords | None) -> Tensor:
        """Returns the last hidden states, or the logits where there is no head: ids (B, T) -> (B, T, H or V)."""
        model = self.model.base_model if self.head is not None else self.model
        if self._unscaled is not None:
            reset_dynamic_factors(self.model)
        if records is None:
            output = model(input_ids=ids, use_cache=False)
        else:
            positions = torch.cat([torch.arange(length) for length in records.lengths])[None].to(self.device)
            # transformers passes a mask of four dimensions on as it is and makes none; the attention ignores it
            mask = None if records.masked else torch.empty(1, 1, 1, 1, device=self.device)
            with masking(records) if records.masked else nullcontext():
                output = model(
                    input_ids=ids, use_cache=False, position_ids=positions, attention_mask=mask, packed_records=records
                )
        states: Tensor = output.last_hidden_state if self.head is not None else output.logits
        return states

    def prepare_decoding(self, longest: int) -> DecodingMode:
        """Finds how texts of up to `longest` tokens are continued, token by token."""
        self._decoding = find_decoding(self.model, self._mode_logits, longest, one_row=self.one_by_one)
        return self._decoding

    def factors_change_within(self, length: int) -> bool:
        """Whether a text chooses rotary factors of its own once it is `length` tokens long, or earlier."""
        return self._unscaled is not None and length > self._unscaled

    def must_reread_at(self, length: int) -> bool:
        """Whether a text of `length` tokens is read from its beginning, although a cache may hold it."""
        return self._decoding is not None and self._decoding.must_reread_at(length)

    def next_logits(
        self, ids: Tensor, cache: Cache | None, present: Tensor | None = None
    ) -> tuple[Tensor, Cache | None]:
        """Returns the logits (B, V) after ids (B, T), which follow the tokens in `cache` (None: no token), and the new
        cache, None where the model keeps none.

        `present` (B, all tokens so far) bool is False at the padding on a row's left; None: there is no padding.
        """
        before = _cached_length(cache)  # asked before the model adds to the cache
        mode = self._decoding or self.prepare_decoding(ids.shape[1])
        with self.precision():
            states, new_cache = self._read(mode, ids, cache, present)
        self._count_next(ids, before, present)
        return self.logits(at_least_float32(states)), new_cache

    def _mode_logits(
        self, mode: DecodingMode, ids: Tensor, cache: Cache | None, present: Tensor | None
    ) -> tuple[Tensor, Cache | None]:
        """Returns the same in a mode that is tried, in the precision of the weights."""
        states, new_cache = self._read(mode, ids, cache, present)
        states = at_least_float32(states)
        return states if self.head is None else head_logits(states, self.head.weight, self.head.bias, None), new_cache

    def _read(
        self, mode: DecodingMode, ids: Tensor, cache: Cache | None, present: Tensor | None
    ) -> tuple[Tensor, Cache | None]:
        """Returns the last hidden state, or the logits, after the last of the ids: (B, H or V), and the cache."""
        part = self.model.base_model if self.head is not None else self.model
        if self._unscaled is not None and cache is None:
            reset_dynamic_factors(self.model)
        options: dict[str, object] = {"use_cache": mode.cache is not None}
        if mode.cache is not None:
            options[mode.cache] = cache
        if present is not None:
            options["attention_mask"] = present.long()
        if mode.positions:
            if present is not None:
                positions = (present.cumsum(1) - 1).clamp(min=0)[:, -ids.shape[1] :]
            else:
                before = _cached_length(cache)
                positions = torch.arange(before, before + ids.shape[1], device=ids.device)[None].expand(len(ids), -1)
            options["position_ids"] = positions
        output = part(input_ids=ids, **options)
        states = output.last_hidden_state if self.head is not None else output.logits
        new_cache = None if mode.cache is None else getattr(output, mode.cache, None)
        return states[:, -1], new_cache if isinstance(new_cache, Cache) else None

    def _count_next(self, ids: Tensor, before: int, present: Tensor | None) -> None:
        """Meters the reading of ids after `before` cached tokens; padding is not counted."""
        rows, new = ids.shape
        if present is None:
            first, last = [before] * rows, [before + new] * rows
        else:
            last = present.sum(1).tolist()
            first = [length - read for length, read in zip(last, present[:, -new:].sum(1).tolist(), strict=True)]
        self.count_read(first, last)

    def count_read(self, first: Sequence[int], last: Sequence[int]) -> None:
        """Meters the reading of texts of `last` tokens each, of which `first` are cached."""
        tokens = sum(last) - sum(first)
        METER.count(ComputeUsage(tokens, self._flops.forward(tokens, squared_lengths(last) - squared_lengths(first))))

    def targets(self, chunks: Sequence[Chunk]) -> Tensor:
        """Returns the scored tokens: (N,), by chunk and position."""
        return torch.cat([chunk.ids[chunk.scored] for chunk in chunks]).to(self.device)

    def logits(self, hidden: Tensor) -> Tensor:
        """Returns the logits of hidden states: (N, H) -> (N, V), at least float32, with gradients where required."""
        return hidden if self.head is None else head_logits(hidden, self.head.weight, self.head.bias, self.autocast)

    @torch.no_grad()
    def losses(self, hidden: Tensor, targets: Tensor) -> Tensor:
        """Returns -log p of each target: (N, H), (N,) -> (N,), in nats, without gradients."""
        cuts = slices(0, len(hidden), rows_per_slice(self.vocabulary))
        return torch.cat([token_nll(self.logits(hidden[cut]), targets[cut]) for cut in cuts])

    @torch.no_grad()
    def losses_and_entropies(self, hidden: Tensor, targets: Tensor) -> Tensor:
        """Returns -log p of each target, and the entropy of the prediction there: (N, H), (N,) -> (N, 2), in nats,
        without gradients."""
        pieces = []
        for cut in slices(0, len(hidden), rows_per_slice(self.vocabulary)):
            logits = self.logits(hidden[cut])
            pieces.append(torch.stack([token_nll(logits, targets[cut]), token_entropy(logits)], dim=1))
        return torch.cat(pieces)

    def frozen_head(self) -> Head:
        """Returns the head with its present weights, which later training does not change."""
        if self.head is None:
            return lambda hidden: hidden
        parameters = (self.head.weight, self.head.bias)
        weight, bias = (None if parameter is None else self._frozen(parameter) for parameter in parameters)
        return lambda hidden: head_logits(hidden, weight, bias, self.autocast)

    def _frozen(self, weight: Tensor) -> Tensor:
        """Copies a weight in the dtype of the products; returns the weight itself where it is not trained."""
        dtype = weight.dtype if self.autocast is None else self.autocast
        return weight.detach().to(dtype, copy=weight.requires_grad)


def _cached_length(cache: Cache | None) -> int:
    """Returns how many tokens of each row the cache holds."""
    try:
        return 0 if cache is None else int(cache.get_seq_length())
    except (AttributeError, ValueError):  # no layer of the model attends, or the cache keeps no count
        return 0
