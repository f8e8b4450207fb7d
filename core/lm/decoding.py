"""How a model is asked for one token after another, found by trial: its logits then are those of the whole text."""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import torch
from torch import Tensor
from transformers import Cache, PreTrainedModel

from core.lm.arrangement import trial_length
from core.lm.bounds import bounds
from core.lm.errors import out_of_memory
from core.lm.rotary import unscaled_length
from core.lm.trial import close, plain_logits, trial_records
from core.lm.widening import widened

_STEPS = 3
_SHORT = 5


@dataclass(frozen=True)
class Decoding:
    """`cache` names the model's argument for what it has read; None: the whole text is read again for each token.
    `positions`: the places of tokens are passed. `fills`: rows of several lengths go together, filled up on the left.
    `tried`: tokens of the trial's longest row."""

    cache: str | None
    positions: bool
    fills: bool = False
    tried: int = 0


Read = Callable[[Decoding, Tensor, Cache | None, Tensor | None], tuple[Tensor, Cache | None]]
"""From ids (B, T), which follow what the cache holds, and what is there of all so far (B, so far; None: all of it), to
the logits after the last (B, V), and the cache then; in the precision of the weights."""

_KNOWN: WeakKeyDictionary[PreTrainedModel, Decoding] = WeakKeyDictionary()


def filled(rows: Sequence[Sequence[int]], more: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Ids (B, T), filled up on the left, and what of them and of `more` places behind them is there (B, T + more)."""
    longest = max(len(row) for row in rows)
    ids = torch.tensor([[0] * (longest - len(row)) + list(row) for row in rows], device=device)
    present = torch.ones(len(rows), longest + more, dtype=torch.bool)
    for row, tokens in enumerate(rows):
        present[row, : longest - len(tokens)] = False
    return ids, present.to(device)


def decoding(model: PreTrainedModel, read: Read, longest: int) -> Decoding:
    """The quickest way that gives, token by token, the logits of plain transformers on the whole text, for texts of up
    to `longest` tokens."""
    length = trial_length(model, longest)
    if (unscaled := unscaled_length(model.config)) is not None:
        length = min(length, max(1, unscaled - _STEPS))
    known = _KNOWN.get(model)
    if known is None or known.tried < length:
        _KNOWN[model] = known = _tried(model, read, length)
    return known


@torch.no_grad()
def _tried(model: PreTrainedModel, read: Read, length: int) -> Decoding:
    bound = max((bound for bound in bounds(model.config) if bound < length), default=0)
    starts = sorted({length, min(_SHORT, length), max(1, bound - 1)})
    texts = dict(zip(starts, trial_records(model, [start + _STEPS for start in starts]), strict=True))
    wanted = {start: plain_logits(model, ids)[start - 1 : -1] for start, ids in texts.items()}

    def holds(way: Decoding, rows: Sequence[int]) -> bool:
        try:
            with widened(model):
                found = _steps(way, read, [texts[start] for start in rows])
        except Exception as error:  # whatever an architecture raises that does not bear it
            if out_of_memory(error):
                raise
            return False
        pairs = ((found[:, row], wanted[start], texts[start]) for row, start in enumerate(rows))
        return all(close(logits, right, model, ids) for logits, right, ids in pairs)

    for way in _ways(model):
        if all(holds(way, [start]) for start in starts):
            fills = Decoding(way.cache, way.positions, fills=True, tried=length)
            together = [length, min(_SHORT, length)] if length > 1 else [length]
            return fills if holds(fills, together) else Decoding(way.cache, way.positions, tried=length)
    return Decoding(None, positions=False, tried=length)  # what plain transformers does


def _ways(model: PreTrainedModel) -> list[Decoding]:
    """As transformers' own generation does it, and with less."""
    taken = inspect.signature(model.forward).parameters
    names = [name for name in ("past_key_values", "cache_params", "state") if name in taken]
    positions = [True, False] if "position_ids" in taken else [False]
    return [Decoding(name, passed) for name in [*names[:1], None] for passed in positions]


def _steps(way: Decoding, read: Read, texts: Sequence[Tensor]) -> Tensor:
    """The logits after the beginning of each of B texts, and after each of the tokens behind it: (steps, B, V)."""
    device = texts[0].device
    ids, present = filled([text[:-_STEPS].tolist() for text in texts], _STEPS, device)
    fresh = torch.stack([text[-_STEPS:] for text in texts])  # (B, steps)
    whole = bool(present.all())
    width, cache, step = ids.shape[1], None, ids
    found = []
    for place in range(_STEPS):
        logits, cache = read(way, step, cache, None if whole else present[:, : width + place])
        found.append(logits)
        ids = torch.cat([ids, fresh[:, place : place + 1]], dim=1)
        step = ids if cache is None else fresh[:, place : place + 1]
    return torch.stack(found)
