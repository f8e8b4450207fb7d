"""How a model is asked for one token after another: as transformers' own generation asks it, found by trial."""

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
class DecodingMode:
    """One way to ask a model for the next token."""

    cache: str | None
    """The model's argument for its cache; None: the whole text is read again for each token."""
    positions: bool
    """Whether the tokens' positions are passed."""
    pads_left: bool = False
    """Whether rows of several lengths go together, padded on the left."""
    one_row: bool = False
    """Whether each row goes alone, even beside rows of its own length."""
    rereads: Literal["never", "once", "always"] | None = None
    """When a text that becomes longer than `unscaled` is read again from its beginning: `once`, where it becomes so;
    `always`, from there on. None: not tried yet."""
    unscaled: int | None = None
    """Tokens up to which the length of a text does not choose its rotary factors."""
    tried_length: int = 0
    """Tokens of the trial's longest row."""

    def must_reread_at(self, length: int) -> bool:
        """Whether a text of `length` tokens is read from its beginning, although a cache may hold it."""
        if self.unscaled is None or self.rereads in (None, "never") or length <= self.unscaled:
            return False
        return self.rereads == "always" or length == self.unscaled + 1


ReadTokens = Callable[[DecodingMode, Tensor, Cache | None, Tensor | None], tuple[Tensor, Cache | None]]
"""Reads ids (B, T), which follow the tokens in the cache, and returns the logits after the last of them (B, V), in the
precision of the weights, and the new cache. The last argument marks the tokens so far that are no padding
(B, so far); None: there is no padding."""

_KNOWN: WeakKeyDictionary[PreTrainedModel, DecodingMode] = WeakKeyDictionary()


def left_padded(rows: Sequence[Sequence[int]], following: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Returns ids (B, T), padded on the left, and a mask (B, T + following) that is False at the padding.

    The mask covers `following` tokens that are still to come.
    """
    longest = max(len(row) for row in rows)
    ids = torch.tensor([[0] * (longest - len(row)) + list(row) for row in rows], device=device)
    present = torch.ones(len(rows), longest + following, dtype=torch.bool)
    for row, tokens in enumerate(rows):
        present[row, : longest - len(tokens)] = False
    return ids, present.to(device)


def find_decoding(model: PreTrainedModel, read: ReadTokens, longest: int, *, one_row: bool) -> DecodingMode:
    """Returns the quickest mode that gives the logits of transformers' own generation, token by token.

    It holds for texts of up to `longest` tokens. `one_row`: no two texts go through the model together.
    """
    length, unscaled = trial_length(model, longest), unscaled_length(model.config)
    if unscaled is not None:
        length = min(length, max(1, unscaled - _STEPS))
    mode = _KNOWN.get(model)
    if mode is None or mode.tried_length < length:
        mode = _find_mode(model, read, length, one_row)
    if unscaled is not None and longest > unscaled and mode.rereads is None:
        mode = _find_rereads(model, read, replace(mode, unscaled=unscaled), unscaled)
    _KNOWN[model] = mode
    return mode


@torch.no_grad()
def _find_rereads(model: PreTrainedModel, read: ReadTokens, mode: DecodingMode, unscaled: int) -> DecodingMode:
    """Finds how transformers' generation goes on where the length of a text comes to choose its rotary factors.

    Where no way agrees with it, the whole text is read for each token from there on.
    """
    (ids,) = trial_records(model, [unscaled])
    text, expected = _generate(model, ids)
    candidates = (replace(mode, rereads="never"), replace(mode, rereads="once"))
    return next(
        (candidate for candidate in candidates if _agrees(model, read, candidate, [text], [expected])),
        replace(mode, rereads="always"),
    )


@torch.no_grad()
def _find_mode(model: PreTrainedModel, read: ReadTokens, length: int, one_row: bool) -> DecodingMode:
    bound = max((bound for bound in length_bounds(model.config) if bound < length), default=0)
    starts = sorted({length, min(_SHORT, length), max(1, length - _SHORT), max(1, bound - 1)})
    for write in (_generate, _generate_by_rereading):
        written = [write(model, ids) for ids in trial_records(model, starts)]
        texts = [text for text, _ in written]
        expected = [logits for _, logits in written]

        def holds(
            mode: DecodingMode, rows: Sequence[int], texts: list[Tensor] = texts, expected: list[Tensor] = expected
        ) -> bool:
            return _agrees(model, read, mode, [texts[row] for row in rows], [expected[row] for row in rows])

        rows = range(len(starts))
        chosen = next((mode for mode in _candidates(model) if all(holds(mode, [row]) for row in rows)), None)
        if chosen is not None:
            return replace(chosen, pads_left=not one_row and holds(chosen, rows), one_row=one_row, tried_length=length)
    return DecodingMode(None, positions=False, one_row=one_row, tried_length=length)


def _agrees(
    model: PreTrainedModel, read: ReadTokens, mode: DecodingMode, texts: Sequence[Tensor], expected: Sequence[Tensor]
) -> bool:
    """Whether texts that go through the model together get the logits expected of each, (steps, V)."""
    try:
        with computing_in_float32(model):
            steps = _decode(mode, read, texts)
    except Exception as error:  # an architecture that cannot decode so may raise anything
        if out_of_memory(error):
            raise
        return False
    rows = zip(steps.unbind(1), expected, texts, strict=True)
    return all(is_close(logits, expected_logits, model, text) for logits, expected_logits, text in rows)


def _generate(model: PreTrainedModel, ids: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the text (T + steps,) that transformers itself writes greedily after ids (T,), and its logits.

    The logits (steps, V) are those that predicted each written token, in at least float32. Where transformers writes no
    such text, a plain forward for each token does.
    """
    reset_dynamic_factors(model)
    own = model.generation_config
    greedy = GenerationConfig(max_new_tokens=_STEPS, do_sample=False, pad_token_id=0, use_cache=True)
    greedy.output_logits = greedy.return_dict_in_generate = True
    try:
        model.generation_config = GenerationConfig()  # its own values would fill in those that `greedy` leaves out
        with computing_in_float32(model):
            written = model.generate(ids[None], attention_mask=torch.ones_like(ids[None]), generation_config=greedy)
        text, logits = written.sequences[0], torch.cat(written.logits)
        if len(text) == len(ids) + _STEPS and text[: len(ids)].equal(ids):
            return text, logits.to(torch.promote_types(logits.dtype, torch.float32))
    except Exception as error:  # an architecture without a generation of its own may raise anything
        if out_of_memory(error):
            raise
    finally:
        model.generation_config = own
    return _generate_by_rereading(model, ids)


def _generate_by_rereading(model: PreTrainedModel, ids: Tensor) -> tuple[Tensor, Tensor]:
    """Returns what `_generate` returns, by a plain forward over the whole text for each token.

    Where no mode agrees with an architecture's own generation, its forward decides.
    """
    rows = []
    for _ in range(_STEPS):
        rows.append(plain_logits(model, ids)[-1])
        ids = torch.cat([ids, rows[-1].argmax()[None]])
    return ids, torch.stack(rows)


def _candidates(model: PreTrainedModel) -> list[DecodingMode]:
    """The modes to try: with a cache and positions first, as generation mostly does it, then without either."""
    parameters = inspect.signature(model.forward).parameters
    caches = [name for name in ("past_key_values", "cache_params", "state") if name in parameters]
    positions = [True, False] if "position_ids" in parameters else [False]
    return [DecodingMode(cache, passed) for cache in [*caches[:1], None] for passed in positions]


def _decode(mode: DecodingMode, read: ReadTokens, texts: Sequence[Tensor]) -> Tensor:
    """Returns the logits that predict the last tokens of B texts: (steps, B, V)."""
    device = texts[0].device
    ids, present = left_padded([text[:-_STEPS].tolist() for text in texts], _STEPS, device)
    written = torch.stack([text[-_STEPS:] for text in texts])  # (B, steps)
    padded = not bool(present.all())
    width, cache, step = ids.shape[1], None, ids
    steps = []
    for position in range(_STEPS):
        if mode.must_reread_at(width + position):
            step, cache = ids, None
        logits, cache = read(mode, step, cache, present[:, : width + position] if padded else None)
        steps.append(logits)
        ids = torch.cat([ids, written[:, position : position + 1]], dim=1)
        step = ids if cache is None else written[:, position : position + 1]
    return torch.stack(steps)
