"""How records go through a model together: exactly as each goes through plain transformers alone, found by trial."""

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
"""`packed`: records lie behind each other in one row, and a token sees the earlier tokens of its record. `masked`: the
same, within the windows and chunks of the model's own masks. `padded`: each record has a row, padded on the right.
`single`: each record has a forward of its own."""

_SHORTEST = 24
"""Tokens of the trial's long record where no window needs more."""
_BEYOND = 9
"""Tokens by which the long record goes beyond the largest window."""

RunChunks = Callable[["BatchLayout", Sequence[Chunk]], Tensor]
"""Runs chunks in a layout, and returns the logits (N, V) that predict their scored tokens."""


@dataclass(frozen=True)
class BatchLayout:
    """How records share a forward, and the lengths for which a trial has shown it."""

    kind: Kind
    tried_length: int
    """Tokens of the trial's longest record."""
    tried_row_length: int
    """Tokens of all records of the trial together."""
    alone_above: int | None = None
    """A record with more tokens has a forward of its own: its length chooses the rotary factors of the records beside
    it."""

    @property
    def packs(self) -> bool:
        """Whether records lie behind each other in one row."""
        return self.kind in ("packed", "masked")

    def groups(self, chunks: Sequence[Chunk]) -> Iterator[list[int]]:
        """Yields the places of the chunks, each once, in groups that share a forward."""
        together = []
        for place, chunk in enumerate(chunks):
            if self.kind == "single" or (self.alone_above is not None and len(chunk.ids) > self.alone_above):
                yield [place]
            else:
                together.append(place)
        if together:
            yield together


_KNOWN: WeakKeyDictionary[PreTrainedModel, BatchLayout] = WeakKeyDictionary()
"""Trials by model: they hold however its weights change, and several parts of a job ask for them."""
_LOADED: WeakKeyDictionary[PreTrainedModel, attention.Implementations] = WeakKeyDictionary()
"""The attention that each model was loaded with."""


def known_layout(model: PreTrainedModel) -> BatchLayout | None:
    """Returns the layout of an earlier trial of this model; None where its attention has changed since."""
    layout = _KNOWN.get(model)
    if layout is None or not layout.packs:
        return layout
    return layout if attention.is_switched(model) else None


def trial_length(model: PreTrainedModel, longest: int) -> int:
    """Returns how long a trial's record must be to hold for records of up to `longest` tokens."""
    shortest = context_length(model, min(_SHORTEST, max(longest, 3)))
    return max(shortest, min(longest, _largest_bound(model, longest) + _BEYOND))


def trial_row_length(model: PreTrainedModel, row: int) -> int:
    """Returns how many tokens must lie in a trial's row to hold for rows of up to `row` tokens.

    An architecture may count a token's place from the beginning of the row, whatever positions it is given.
    """
    return min(row, _largest_bound(model, row) + _BEYOND)


def _largest_bound(model: PreTrainedModel, length: int) -> int:
    """Returns the largest length below `length` from which on the model may behave otherwise; 0: there is none."""
    bounds = [*length_bounds(model.config), unscaled_length(model.config) or 0]
    return max((bound for bound in bounds if bound < length), default=0)


@torch.no_grad()
def find_layout(model: PreTrainedModel, run: RunChunks, length: int, row: int) -> BatchLayout:
    """Returns the quickest layout that gives what plain transformers gives.

    The trial has a record of `length` tokens; where records lie behind each other, its row has at least `row` tokens.
    It is compared with the model as it was loaded, one record at a time. A model that is not packed keeps its own
    attention. Raises CoreError `inconsistent_model` where no layout agrees.
    """
    before = _KNOWN.get(model)
    loaded = _LOADED.setdefault(model, attention.attention_implementations(model))
    attention.restore_attention(loaded)
    plain = BatchLayout("single", length, row, unscaled_length(model.config))
    records = trial_records(model, _trial_lengths(length, plain.alone_above))
    expected = [plain_logits(model, ids)[:-1] for ids in records]
    chunks = [_chunk(ids, place) for place, ids in enumerate(records)]
    filling = [chunks[2]] * max(0, math.ceil((row - sum(len(ids) for ids in records)) / length))

    def agrees(kind: Kind) -> bool:
        layout = replace(plain, kind=kind)
        try:
            with computing_in_float32(model):
                logits = run(layout, [*filling, *chunks] if layout.packs else chunks)
        except Exception as error:  # an architecture that cannot run so may raise anything
            if out_of_memory(error):
                raise
            return False
        counts = [len(record_logits) for record_logits in expected]
        if len(logits) < sum(counts):
            return False
        pieces = torch.split(logits[-sum(counts) :], counts)
        return all(
            is_close(piece, record_logits, model, ids)
            for piece, record_logits, ids in zip(pieces, expected, records, strict=True)
        )

    def gradients_agree() -> bool:
        """Whether padding leaves the gradients of a stateful model unchanged: it may run in pieces of one length."""
        alone = [input_gradients(model, partial(run, plain, [chunk]), [chunk]) for chunk in chunks]
        together = input_gradients(model, partial(run, replace(plain, kind="padded"), chunks), chunks)
        if together is None or any(gradients is None for gradients in alone):
            return together is None and all(gradients is None for gradients in alone)
        return all(
            gradients is not None and relative_difference(padded[: len(chunk.ids)], gradients[0][0]) <= TOLERANCE
            for padded, gradients, chunk in zip(together[0], alone, chunks, strict=True)
        )

    chosen: Kind | None = None
    may_pack = (before is None or before.packs) and not selects_tokens(model.config, row)
    if may_pack and attention.switch_attention(model):
        chosen = next((kind for kind in _PACKED if agrees(kind)), None)
    if chosen is None:
        attention.restore_attention(loaded)
        unpacked: tuple[Kind, ...] = ("single",) if selects_tokens(model.config, length) else ("padded", "single")
        chosen = next((kind for kind in unpacked if agrees(kind)), None)
        if chosen == "padded" and getattr(model, "_is_stateful", False) and not gradients_agree():
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


def _trial_lengths(longest: int, alone_above: int | None) -> list[int]:
    """Returns the lengths of the trial's records.

    Two have one length; one ends beyond every window, and one does although it is padded. Where the longest record goes
    alone, the longest that goes together is among them too.
    """
    lengths = [min(5, longest)] * 2
    for length in (longest, alone_above):
        if length is not None and length <= longest:
            lengths += [length, max(2, length - _BEYOND // 2)]
    return lengths


def _chunk(ids: Tensor, record: int) -> Chunk:
    return Chunk(LongTensor(ids.cpu()), BoolTensor(torch.arange(len(ids)) > 0), record)
