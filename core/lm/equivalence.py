"""Trials of a model on a few tokens: whether a way to compute gives what plain transformers gives of one record."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.hooks import RemovableHandle
from transformers import PreTrainedModel

from core.lm.errors import CoreError, out_of_memory
from core.lm.float32_compute import computing_in_float32
from core.lm.rotary import reset_dynamic_factors

_RELATIVE = {torch.float64: 1e-6, torch.float32: 1e-5}
"""How far two orders of the same sums may lie apart, as a share of the largest: more is looked into."""
_NOISY = 1e-3
"""The share above which a difference is none of rounding."""
_LARGEST_LOGIT = 150.0
"""Far above every soft cap in use."""


def random_token_ids(model: PreTrainedModel, count: int, seed: int = 0) -> Tensor:
    """(count,) token ids on the model's device, the same for the same seed, none of them a special token."""
    embeddings = model.get_input_embeddings()
    rows = getattr(embeddings, "num_embeddings", None) or model.config.get_text_config().vocab_size
    special = set(_special(model.config.to_dict()))
    plain = [token for token in range(min(rows, 4096)) if token not in special] or list(range(rows))
    places = torch.randint(len(plain), (count,), generator=torch.Generator().manual_seed(seed))
    return torch.tensor(plain)[places].to(next(model.parameters()).device)


def _special(values: dict[str, object]) -> list[int]:
    ids: list[int] = []
    for name, value in values.items():
        if isinstance(value, dict):
            ids += _special(value)
        elif "token" in str(name) or str(name).endswith(("_id", "_index")):
            ids += [token for token in (value if isinstance(value, list) else [value]) if isinstance(token, int)]
    return ids


def plain_logits(model: PreTrainedModel, ids: Tensor) -> Tensor:
    """What transformers says of one record by itself: ids (T,) -> (T, V), at least float32.

    Raises CoreError `unusable_model` where the model cannot be asked.
    """
    reset_dynamic_factors(model)
    try:
        with computing_in_float32(model):
            found: Tensor = model(input_ids=ids[None], use_cache=False).logits[0]
    except Exception as error:  # whatever an architecture raises that wants more than tokens
        if out_of_memory(error):
            raise
        raise CoreError(
            "unusable_model",
            f"the model gives no predictions for plain token ids ({type(error).__name__}): it must be a causal language"
            " model that reads text alone",
        ) from error
    return found.to(torch.promote_types(found.dtype, torch.float32))


def is_close(found: Tensor, wanted: Tensor, model: PreTrainedModel, ids: Tensor) -> bool:
    """Whether two results of one computation are equal but for rounding: the same shape, the same infinite places, and
    differences of the last digits. Where they are larger, they may be as large as the model's own rounding on `ids`."""
    if found.shape != wanted.shape:
        return False
    apart = relative_difference(found, wanted)
    if apart <= _RELATIVE[wanted.dtype]:
        return True
    return apart < _NOISY and apart <= 4 * _rounding(model, ids)


def relative_difference(found: Tensor, wanted: Tensor) -> float:
    """The largest difference as a share of the largest number; infinite where numbers are missing in one of them."""
    differences = (found - wanted).abs()[(found != wanted) & ~(found.isnan() & wanted.isnan())]
    if differences.numel() == 0:
        return 0.0
    scale = wanted[wanted.isfinite()].abs().max().clamp(min=1e-30) if wanted.isfinite().any() else 1.0
    largest = float(differences.max() / scale)
    return largest if largest == largest else float("inf")


def _rounding(model: PreTrainedModel, ids: Tensor) -> float:
    """How far the same record lies from itself when its products are summed in another order: as one of three."""
    alone = plain_logits(model, ids)
    try:
        with computing_in_float32(model):
            together = model(input_ids=ids.expand(3, -1), use_cache=False).logits.to(alone.dtype)
    except Exception as error:  # a model that takes one row only
        if out_of_memory(error):
            raise
        return 0.0
    return max(relative_difference(row, alone) for row in together)


@torch.no_grad()
def refuse_unless_causal(model: PreTrainedModel, length: int) -> None:
    """Raises CoreError `not_causal` where a later token changes what the model predicts at an earlier one, and
    `not_repeatable` where the same tokens are predicted differently each time. `length` >= 3 tokens are tried."""
    ids = random_token_ids(model, length)
    others = random_token_ids(model, length, seed=1)
    wanted = plain_logits(model, ids)
    for cut in (length - 1, length // 2):
        changed = torch.cat([ids[:cut], torch.where(ids[cut:] == others[cut:], ids[:1], others[cut:])])
        found = plain_logits(model, changed)
        if found.shape == wanted.shape and is_close(found[:cut], wanted[:cut], model, ids):
            continue
        if not is_close(plain_logits(model, ids), wanted, model, ids):
            raise CoreError(
                "not_repeatable",
                "the model answers the same tokens differently each time, so that no figure of it can be compared:"
                " something random is left in it that evaluation mode does not switch off",
            )
        raise CoreError(
            "not_causal",
            "a later token changes what the model predicts at an earlier one, so that its losses and probabilities mean"
            " nothing: register a causal language model, or, where this one was trained as a decoder, set is_decoder to"
            " true in its config.json",
        )


@torch.no_grad()
def plain_head(model: PreTrainedModel) -> nn.Linear | None:
    """The model's output layer, where its logits are that layer's product with the backbone's last states and nothing
    besides; None where it scales, caps, shifts or transforms before or behind.

    The layer's product is replaced, for one forward, by numbers larger than any cap: the model must hand them on
    unchanged, and must have given the layer exactly what its backbone ends with.
    """
    head = model.get_output_embeddings()
    if not isinstance(head, nn.Linear) or model.base_model is model:
        return None
    ids = random_token_ids(model, 4)[None]
    asked: list[tuple[Tensor, Tensor]] = []
    drawn: list[Tensor] = []

    def replace(_: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        asked.append((inputs[0], output))
        generator = torch.Generator().manual_seed(len(drawn))
        numbers = (torch.rand(output.shape, generator=generator, dtype=torch.float32) * 2 - 1) * _LARGEST_LOGIT
        drawn.append(numbers.to(output.device, torch.promote_types(output.dtype, torch.float32)))
        return drawn[-1]

    handle: RemovableHandle = head.register_forward_hook(replace)
    try:
        with computing_in_float32(model):
            whole = model(input_ids=ids, use_cache=False).logits
            states = model.base_model(input_ids=ids, use_cache=False).last_hidden_state
            product = functional.linear(states, head.weight, head.bias)
    except Exception as error:  # a model whose parts do not stand alone is run as a whole
        if out_of_memory(error):
            raise
        return None
    finally:
        handle.remove()
    if len(asked) != 1 or not torch.equal(whole, drawn[0]):
        return None
    read, answered = asked[0]
    if read.shape != states.shape or answered.shape != product.shape:
        return None
    exact = (
        max(relative_difference(read, states), relative_difference(answered, product)) <= _RELATIVE[states.dtype] / 10
    )
    return head if exact else None


def trial_records(model: PreTrainedModel, lengths: Sequence[int]) -> list[Tensor]:
    """Token ids of records of these lengths, one unlike the other."""
    return [random_token_ids(model, length, seed=place) for place, length in enumerate(lengths)]
