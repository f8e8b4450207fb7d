"""How a model is asked for one token after another, found by trial: as transformers' own generation asks it."""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal
from weakref import WeakKeyDictionary

import torch
from torch import Tensor
from transformers import Cache, GenerationConfig, PreTrainedModel

from core.lm.attention_bounds import length_bounds
from core.lm.batch_layout import trial_length
from core.lm.equivalence import is_close, plain_logits, trial_records
from core.lm.errors import out_of_memory
from core.lm.float32_compute import computing_in_float32
from core.lm.rotary import reset_dynamic_factors, unscaled_length

_STEPS = 3
_SHORT = 5


@dataclass(frozen=True)
class Decoding:
    """`cache` names the model's argument for what it has read; None: the whole text is read again for each token.
    `positions`: the places of tokens are passed. `fills`: rows of several lengths go together, filled up on the left;
    `alone`: not even rows of one length do. `again`: whether a text is read again from its beginning where its length
    comes to choose its rotary factors, at lengths above `unscaled`: `once`, there; `always`, from there on.
    `tried`: tokens of the trial's longest row."""

    cache: str | None
    positions: bool
    fills: bool = False
    alone: bool = False
    again: Literal["never", "once", "always"] | None = None
    unscaled: int | None = None
    tried: int = 0

    def rereads_at(self, length: int) -> bool:
        """Whether a text of `length` tokens is read from its beginning, whatever a cache holds."""
        if self.unscaled is None or self.again in (None, "never") or length <= self.unscaled:
            return False
        return self.again == "always" or length == self.unscaled + 1


ReadTokens = Callable[[Decoding, Tensor, Cache | None, Tensor | None], tuple[Tensor, Cache | None]]
"""From ids (B, T), which follow what the cache holds, and what is there of all so far (B, so far; None: all of it), to
the logits after the last (B, V), and the cache then; in the precision of the weights."""

_KNOWN: WeakKeyDictionary[PreTrainedModel, Decoding] = WeakKeyDictionary()


def left_padded(rows: Sequence[Sequence[int]], more: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Ids (B, T), filled up on the left, and what of them and of `more` places behind them is there (B, T + more)."""
    longest = max(len(row) for row in rows)
    ids = torch.tensor([[0] * (longest - len(row)) + list(row) for row in rows], device=device)
    present = torch.ones(len(rows), longest + more, dtype=torch.bool)
    for row, tokens in enumerate(rows):
        present[row, : longest - len(tokens)] = False
    return ids, present.to(device)


def find_decoding(model: PreTrainedModel, read: ReadTokens, longest: int, *, apart: bool) -> Decoding:
    """The quickest way that gives, token by token, the logits of transformers' own generation of one text, for texts of
    up to `longest` tokens. `apart`: texts do not go through the model together. Raises CoreError `no_continuation`."""
    length, unscaled = trial_length(model, longest), unscaled_length(model.config)
    if unscaled is not None:
        length = min(length, max(1, unscaled - _STEPS))
    known = _KNOWN.get(model)
    if known is None or known.tried < length:
        known = _tried(model, read, length, apart)
    if unscaled is not None and longest > unscaled and known.again is None:
        known = _crossing(model, read, replace(known, unscaled=unscaled), unscaled)
    _KNOWN[model] = known
    return known


@torch.no_grad()
def _crossing(model: PreTrainedModel, read: ReadTokens, way: Decoding, unscaled: int) -> Decoding:
    """How transformers' generation goes on where a text comes to choose its rotary factors; a plain forward for each
    token, where that is not known."""
    (ids,) = trial_records(model, [unscaled])
    text, wanted = _generated(model, ids)
    tries = (replace(way, again="never"), replace(way, again="once"))
    return next(
        (tried for tried in tries if _gives(model, read, tried, [text], [wanted])), replace(way, again="always")
    )


@torch.no_grad()
def _tried(model: PreTrainedModel, read: ReadTokens, length: int, apart: bool) -> Decoding:
    bound = max((bound for bound in length_bounds(model.config) if bound < length), default=0)
    starts = sorted({length, min(_SHORT, length), max(1, length - _SHORT), max(1, bound - 1)})
    for write in (_generated, _read_again):
        written = [write(model, ids) for ids in trial_records(model, starts)]
        texts = [text for text, _ in written]
        wanted = [logits for _, logits in written]

        def holds(
            way: Decoding, rows: Sequence[int], texts: list[Tensor] = texts, wanted: list[Tensor] = wanted
        ) -> bool:
            return _gives(model, read, way, [texts[row] for row in rows], [wanted[row] for row in rows])

        every = range(len(starts))
        chosen = next((way for way in _ways(model) if all(holds(way, [row]) for row in every)), None)
        if chosen is not None:
            return replace(chosen, fills=not apart and holds(chosen, every), alone=apart, tried=length)
    return Decoding(None, positions=False, alone=apart, tried=length)


def _gives(
    model: PreTrainedModel, read: ReadTokens, way: Decoding, texts: Sequence[Tensor], wanted: Sequence[Tensor]
) -> bool:
    """Whether the texts, together, are predicted as each is wanted to be: (steps, V)."""
    try:
        with computing_in_float32(model):
            found = _steps(way, read, texts)
    except Exception as error:  # whatever an architecture raises that does not bear it
        if out_of_memory(error):
            raise
        return False
    rows = zip(found.unbind(1), wanted, texts, strict=True)
    return all(is_close(logits, right, model, text) for logits, right, text in rows)


def _generated(model: PreTrainedModel, ids: Tensor) -> tuple[Tensor, Tensor]:
    """The text (T + steps,) that transformers itself writes after ids (T,), greedily, and what it predicted each of its
    tokens from: (steps, V), at least float32. Where it cannot, so does a plain forward for each token."""
    reset_dynamic_factors(model)
    own = model.generation_config
    greedy = GenerationConfig(max_new_tokens=_STEPS, do_sample=False, pad_token_id=0, use_cache=True)
    greedy.output_logits = greedy.return_dict_in_generate = True
    try:
        model.generation_config = GenerationConfig()  # whose defaults would be taken for what is not said
        with computing_in_float32(model):
            written = model.generate(ids[None], attention_mask=torch.ones_like(ids[None]), generation_config=greedy)
        text, logits = written.sequences[0], torch.cat(written.logits)
        if len(text) == len(ids) + _STEPS and text[: len(ids)].equal(ids):
            return text, logits.to(torch.promote_types(logits.dtype, torch.float32))
    except Exception as error:  # whatever an architecture raises that writes no text of its own
        if out_of_memory(error):
            raise
    finally:
        model.generation_config = own
    return _read_again(model, ids)


def _read_again(model: PreTrainedModel, ids: Tensor) -> tuple[Tensor, Tensor]:
    """The same by a plain forward over the whole text for each token: where nothing agrees with an architecture's own
    generation, a text is what its forward says."""
    rows = []
    for _ in range(_STEPS):
        rows.append(plain_logits(model, ids)[-1])
        ids = torch.cat([ids, rows[-1].argmax()[None]])
    return ids, torch.stack(rows)


def _ways(model: PreTrainedModel) -> list[Decoding]:
    """With a cache and places, as generation mostly does it, and with less."""
    taken = inspect.signature(model.forward).parameters
    names = [name for name in ("past_key_values", "cache_params", "state") if name in taken]
    positions = [True, False] if "position_ids" in taken else [False]
    return [Decoding(name, passed) for name in [*names[:1], None] for passed in positions]


def _steps(way: Decoding, read: ReadTokens, texts: Sequence[Tensor]) -> Tensor:
    """The logits after the beginning of each of B texts, and after each of the tokens behind it: (steps, B, V)."""
    device = texts[0].device
    ids, present = left_padded([text[:-_STEPS].tolist() for text in texts], _STEPS, device)
    fresh = torch.stack([text[-_STEPS:] for text in texts])  # (B, steps)
    whole = bool(present.all())
    width, cache, step = ids.shape[1], None, ids
    found = []
    for place in range(_STEPS):
        if way.rereads_at(width + place):
            step, cache = ids, None
        logits, cache = read(way, step, cache, None if whole else present[:, : width + place])
        found.append(logits)
        ids = torch.cat([ids, fresh[:, place : place + 1]], dim=1)
        step = ids if cache is None else fresh[:, place : place + 1]
    return torch.stack(found)
