"""How records go through a model together, found by trial: exactly as each goes through plain transformers alone."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal
from weakref import WeakKeyDictionary

import torch
from torch import BoolTensor, LongTensor, Tensor
from transformers import PreTrainedModel

from core.lm import attention
from core.lm.bounds import bounds
from core.lm.data import Chunk
from core.lm.errors import CoreError, out_of_memory
from core.lm.model import context_length
from core.lm.rotary import unscaled_length
from core.lm.trial import close, plain_logits, trial_records
from core.lm.widening import widened

Kind = Literal["packed", "masked", "padded", "single"]
"""`packed`: behind each other in one row, each token seeing the earlier ones of its record. `masked`: the same, within
the windows and chunks of the model's own masks. `padded`: a row each, filled up on the right. `single`: a forward
each."""

_SHORTEST = 24
"""Tokens of the trial's long record where nothing asks for more."""
_BEYOND = 9
"""Tokens by which it goes beyond the largest window."""

Run = Callable[["Arrangement", Sequence[Chunk]], Tensor]
"""The logits (N, V) that predict the chunks' scored tokens, the chunks arranged so."""


@dataclass(frozen=True)
class Arrangement:
    """`tried` is the length of the longest record that the trial held. A record longer than `alone_above` goes by
    itself, since its length chooses the rotary factors of whatever is beside it."""

    kind: Kind
    tried: int
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


_KNOWN: WeakKeyDictionary[PreTrainedModel, Arrangement] = WeakKeyDictionary()
"""A trial holds for a model however its weights change; several parts of a job ask for the same one's."""
_OWN: WeakKeyDictionary[PreTrainedModel, attention.Implementations] = WeakKeyDictionary()
"""The attention that each model was loaded with."""


def known(model: PreTrainedModel) -> Arrangement | None:
    """What an earlier trial found of this model, if its attention is still what it was then."""
    arrangement = _KNOWN.get(model)
    if arrangement is None or not arrangement.packs:
        return arrangement
    return arrangement if model.config._attn_implementation == attention.NAME else None


def trial_length(model: PreTrainedModel, longest: int) -> int:
    """How long a record must be to tell what happens to records of up to `longest` tokens."""
    shortest = context_length(model, min(_SHORTEST, max(longest, 3)))
    lengths = [bound for bound in [*bounds(model.config), unscaled_length(model.config) or 0] if bound < longest]
    return max(shortest, min(longest, max(lengths, default=0) + _BEYOND))


@torch.no_grad()
def arrange(model: PreTrainedModel, run: Run, length: int) -> Arrangement:
    """The quickest arrangement that gives what plain transformers gives, tried with a record of `length` tokens.

    The reference is the model as it was loaded, one record at a time; a model that is not packed keeps its own
    attention. Raises CoreError `inconsistent_model` where nothing gives it.
    """
    before = _KNOWN.get(model)
    own = _OWN.setdefault(model, attention.implementations(model))
    attention.put_back(own)
    # two of one length, one that reaches beyond every window and one that does although it is padded
    short, middling = min(5, length), max(2, length - _BEYOND // 2)
    records = trial_records(model, [short, short, length, middling])
    wanted = [plain_logits(model, ids)[:-1] for ids in records]
    chunks = [_chunk(ids, place) for place, ids in enumerate(records)]
    plain = Arrangement("single", length, unscaled_length(model.config))

    def holds(kind: Kind) -> bool:
        try:
            with widened(model):
                found = run(replace(plain, kind=kind), chunks)
        except Exception as error:  # whatever an architecture raises that does not bear it
            if out_of_memory(error):
                raise
            return False
        counts = [len(logits) for logits in wanted]
        if len(found) != sum(counts):
            return False
        pieces = torch.split(found, counts)
        return all(close(piece, logits, model, ids) for piece, logits, ids in zip(pieces, wanted, records, strict=True))

    chosen: Kind | None = None
    if (before is None or before.packs) and attention.switched(model):
        chosen = next((kind for kind in _PACKED if holds(kind)), None)
    if chosen is None:
        attention.put_back(own)
        chosen = next((kind for kind in _APART if holds(kind)), None)
    if chosen is None:
        raise CoreError(
            "inconsistent_model",
            "the model's parts do not give what the whole gives, even for one record at a time: this architecture"
            " cannot be trained or measured here",
        )
    _KNOWN[model] = replace(plain, kind=chosen)
    return _KNOWN[model]


_PACKED: tuple[Kind, ...] = ("packed", "masked")
_APART: tuple[Kind, ...] = ("padded", "single")


def _chunk(ids: Tensor, record: int) -> Chunk:
    return Chunk(LongTensor(ids.cpu()), BoolTensor(torch.arange(len(ids)) > 0), record)
