"""How records go through a model together, found by trial: exactly as each goes through plain transformers alone."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal
from weakref import WeakKeyDictionary

import torch
from torch import BoolTensor, LongTensor, Tensor
from transformers import PreTrainedModel

from core.lm import attention
from core.lm.attention_bounds import length_bounds, selects_tokens
from core.lm.data import Chunk
from core.lm.embedding_gradients import TOLERANCE, input_gradients
from core.lm.equivalence import is_close, plain_logits, relative_difference, trial_records
from core.lm.errors import CoreError, out_of_memory
from core.lm.float32_compute import computing_in_float32
from core.lm.model import context_length
from core.lm.rotary import unscaled_length

Kind = Literal["packed", "masked", "padded", "single"]
"""`packed`: behind each other in one row, each token seeing the earlier ones of its record. `masked`: the same, within
the windows and chunks of the model's own masks. `padded`: a row each, filled up on the right. `single`: a forward
each."""

_SHORTEST = 24
"""Tokens of the trial's long record where nothing asks for more."""
_BEYOND = 9
"""Tokens by which it goes beyond the largest window."""

RunChunks = Callable[["BatchLayout", Sequence[Chunk]], Tensor]
"""The logits (N, V) that predict the chunks' scored tokens, the chunks arranged so."""


@dataclass(frozen=True)
class BatchLayout:
    """`tried` is the length of the longest record that the trial held, `tried_row` that of all its records together. A
    record longer than `alone_above` goes by itself, since its length chooses the rotary factors of whatever is beside
    it."""

    kind: Kind
    tried: int
    tried_row: int
    alone_above: int | None = None

    @property
    def packs(self) -> bool:
        """Whether records lie behind each other in one row."""
        return self.kind in ("packed", "masked")

    def groups(self, chunks: Sequence[Chunk]) -> Iterator[list[int]]:
        """The places of the chunks, each once, that go through the model in one forward."""
        together = []
        for place, chunk in enumerate(chunks):
            if self.kind == "single" or (self.alone_above is not None and len(chunk.ids) > self.alone_above):
                yield [place]
            else:
                together.append(place)
        if together:
            yield together


_KNOWN: WeakKeyDictionary[PreTrainedModel, BatchLayout] = WeakKeyDictionary()
"""A trial holds for a model however its weights change; several parts of a job ask for the same one's."""
_OWN: WeakKeyDictionary[PreTrainedModel, attention.Implementations] = WeakKeyDictionary()
"""The attention that each model was loaded with."""


def known_layout(model: PreTrainedModel) -> BatchLayout | None:
    """What an earlier trial found of this model, if its attention is still what it was then."""
    arrangement = _KNOWN.get(model)
    if arrangement is None or not arrangement.packs:
        return arrangement
    return arrangement if attention.is_switched(model) else None


def trial_length(model: PreTrainedModel, longest: int) -> int:
    """How long a record must be to tell what happens to records of up to `longest` tokens."""
    shortest = context_length(model, min(_SHORTEST, max(longest, 3)))
    return max(shortest, min(longest, _largest(model, longest) + _BEYOND))


def trial_row_length(model: PreTrainedModel, row: int) -> int:
    """How many tokens must lie in one row to tell what happens in rows of up to `row`: an architecture may count a
    token's place from the beginning of the row, whatever positions it is given."""
    return min(row, _largest(model, row) + _BEYOND)


def _largest(model: PreTrainedModel, length: int) -> int:
    """The largest length, of those at which the model may change, that is smaller."""
    lengths = [*length_bounds(model.config), unscaled_length(model.config) or 0]
    return max((bound for bound in lengths if bound < length), default=0)


@torch.no_grad()
def find_layout(model: PreTrainedModel, run: RunChunks, length: int, row: int) -> BatchLayout:
    """The quickest arrangement that gives what plain transformers gives, tried with a record of `length` tokens
    that ends beyond `row` tokens where records lie behind each other.

    The reference is the model as it was loaded, one record at a time; a model that is not packed keeps its own
    attention. Raises CoreError `inconsistent_model` where nothing gives it.
    """
    before = _KNOWN.get(model)
    own = _OWN.setdefault(model, attention.attention_implementations(model))
    attention.restore_attention(own)
    plain = BatchLayout("single", length, row, unscaled_length(model.config))
    records = trial_records(model, _lengths(length, plain.alone_above))
    wanted = [plain_logits(model, ids)[:-1] for ids in records]
    chunks = [_chunk(ids, place) for place, ids in enumerate(records)]
    before_them = [chunks[2]] * max(0, math.ceil((row - sum(len(ids) for ids in records)) / length))

    def holds(kind: Kind) -> bool:
        tried = replace(plain, kind=kind)
        try:
            with computing_in_float32(model):
                found = run(tried, [*before_them, *chunks] if tried.packs else chunks)
        except Exception as error:  # whatever an architecture raises that does not bear it
            if out_of_memory(error):
                raise
            return False
        counts = [len(logits) for logits in wanted]
        if len(found) < sum(counts):
            return False
        found = found[-sum(counts) :]
        pieces = torch.split(found, counts)
        return all(
            is_close(piece, logits, model, ids) for piece, logits, ids in zip(pieces, wanted, records, strict=True)
        )

    def slopes_hold() -> bool:
        """Whether padding leaves the gradients of a model with a state alone, which may run in pieces of one length."""
        alone = [input_gradients(model, partial(run, plain, [chunk]), [chunk]) for chunk in chunks]
        together = input_gradients(model, partial(run, replace(plain, kind="padded"), chunks), chunks)
        if together is None or any(slopes is None for slopes in alone):
            return together is None and all(slopes is None for slopes in alone)
        return all(
            slopes is not None and relative_difference(row[: len(chunk.ids)], slopes[0][0]) <= TOLERANCE
            for row, slopes, chunk in zip(together[0], alone, chunks, strict=True)
        )

    chosen: Kind | None = None
    may_pack = (before is None or before.packs) and not selects_tokens(model.config, row)
    if may_pack and attention.switch_attention(model):
        chosen = next((kind for kind in _PACKED if holds(kind)), None)
    if chosen is None:
        attention.restore_attention(own)
        apart: tuple[Kind, ...] = ("single",) if selects_tokens(model.config, length) else ("padded", "single")
        chosen = next((kind for kind in apart if holds(kind)), None)
        if chosen == "padded" and getattr(model, "_is_stateful", False) and not slopes_hold():
            chosen = "single"
    if chosen is None:
        raise CoreError(
            "inconsistent_model",
            "the model's parts do not give what the whole gives, even for one record at a time: this architecture"
            " cannot be trained or measured here",
        )
    _KNOWN[model] = replace(plain, kind=chosen)
    return _KNOWN[model]


_PACKED: tuple[Kind, ...] = ("packed", "masked")


def _lengths(longest: int, alone_above: int | None) -> list[int]:
    """Of the trial's records: two of one length, one beyond every window and one that is although it is padded; and the
    same of those that go together, where the longest goes alone."""
    lengths = [min(5, longest)] * 2
    for most in (longest, alone_above):
        if most is not None and most <= longest:
            lengths += [most, max(2, most - _BEYOND // 2)]
    return lengths


def _chunk(ids: Tensor, record: int) -> Chunk:
    return Chunk(LongTensor(ids.cpu()), BoolTensor(torch.arange(len(ids)) > 0), record)
