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
"""The largest difference between two orders of the same sums that counts as rounding, as a share of the largest
number. A larger one is compared with the model's own rounding."""
_NOISY = 1e-3
"""The share above which a difference is no rounding."""
_LARGEST_LOGIT = 150.0
"""Far above every soft cap in use."""


def random_token_ids(model: PreTrainedModel, count: int, seed: int = 0) -> Tensor:
    """Returns (count,) token ids on the model's device, the same for the same seed, none of them a special token."""
    embeddings = model.get_input_embeddings()
    rows = getattr(embeddings, "num_embeddings", None) or model.config.get_text_config().vocab_size
    special = set(_special(model.config.to_dict()))
    plain = [token for token in range(min(rows, 4096)) if token not in special] or list(range(rows))
    indices = torch.randint(len(plain), (count,), generator=torch.Generator().manual_seed(seed))
    return torch.tensor(plain)[indices].to(next(model.parameters()).device)


def _special(values: dict[str, object]) -> list[int]:
    ids: list[int] = []
    for name, value in values.items():
        if isinstance(value, dict):
            ids += _special(value)
        elif "token" in str(name) or str(name).endswith(("_id", "_index")):
            ids += [token for token in (value if isinstance(value, list) else [value]) if isinstance(token, int)]
    return ids


def plain_logits(model: PreTrainedModel, ids: Tensor) -> Tensor:
    """Returns transformers' logits of one record by itself: ids (T,) -> (T, V), at least float32.

    Raises CoreError `unusable_model` where the model cannot be asked.
    """
    reset_dynamic_factors(model)
    try:
        with computing_in_float32(model):
            logits: Tensor = model(input_ids=ids[None], use_cache=False).logits[0]
    except Exception as error:  # an architecture that needs more than tokens may raise anything
        if out_of_memory(error):
            raise
        raise CoreError(
            "unusable_model",
            f"the model gives no predictions for plain token ids ({type(error).__name__}): it must be a causal language"
            " model that reads text alone",
        ) from error
    return logits.to(torch.promote_types(logits.dtype, torch.float32))


def is_close(actual: Tensor, expected: Tensor, model: PreTrainedModel, ids: Tensor) -> bool:
    """Whether two results of one computation are equal but for rounding.

    They have the same shape, are infinite at the same positions, and differ in the last digits only. A larger
    difference passes where it is no larger than the model's own rounding on `ids`.
    """
    if actual.shape != expected.shape:
        return False
    difference = relative_difference(actual, expected)
    if difference <= _RELATIVE[expected.dtype]:
        return True
    return difference < _NOISY and difference <= 4 * _rounding(model, ids)


def relative_difference(actual: Tensor, expected: Tensor) -> float:
    """Returns the largest difference as a share of the largest number; infinite where only one of them has NaN."""
    differences = (actual - expected).abs()[(actual != expected) & ~(actual.isnan() & expected.isnan())]
    if differences.numel() == 0:
        return 0.0
    scale = expected[expected.isfinite()].abs().max().clamp(min=1e-30) if expected.isfinite().any() else 1.0
    largest = float(differences.max() / scale)
    return largest if largest == largest else float("inf")


def _rounding(model: PreTrainedModel, ids: Tensor) -> float:
    """Returns how far a record lies from itself when its products are summed in another order: as one row of three."""
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
    """Tries the model on `length` >= 3 tokens.

    Raises CoreError `not_causal` where a later token changes what the model predicts at an earlier position, and
    `not_repeatable` where it predicts the same tokens differently each time.
    """
    ids = random_token_ids(model, length)
    replacements = random_token_ids(model, length, seed=1)
    expected = plain_logits(model, ids)
    for cut in (length - 1, length // 2):
        changed = torch.cat([ids[:cut], torch.where(ids[cut:] == replacements[cut:], ids[:1], replacements[cut:])])
        logits = plain_logits(model, changed)
        if logits.shape == expected.shape and is_close(logits[:cut], expected[:cut], model, ids):
            continue
        if not is_close(plain_logits(model, ids), expected, model, ids):
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
    """Returns the model's output layer, if its logits are exactly that layer's product with the backbone's last states.

    None where the model scales, caps, shifts or transforms before or after the layer.
    For one forward the layer's product is replaced by numbers larger than any cap: the model must pass them on
    unchanged, and must have given the layer exactly the last states of its backbone.
    """
    head = model.get_output_embeddings()
    if not isinstance(head, nn.Linear) or model.base_model is model:
        return None
    ids = random_token_ids(model, 4)[None]
    calls: list[tuple[Tensor, Tensor]] = []
    replacements: list[Tensor] = []

    def replace(_: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        calls.append((inputs[0], output))
        generator = torch.Generator().manual_seed(len(replacements))
        numbers = (torch.rand(output.shape, generator=generator, dtype=torch.float32) * 2 - 1) * _LARGEST_LOGIT
        replacements.append(numbers.to(output.device, torch.promote_types(output.dtype, torch.float32)))
        return replacements[-1]

    handle: RemovableHandle = head.register_forward_hook(replace)
    try:
        with computing_in_float32(model):
            logits = model(input_ids=ids, use_cache=False).logits
            states = model.base_model(input_ids=ids, use_cache=False).last_hidden_state
            product = functional.linear(states, head.weight, head.bias)
    except Exception as error:  # a model whose parts do not stand alone is run as a whole
        if out_of_memory(error):
            raise
        return None
    finally:
        handle.remove()
    if len(calls) != 1 or not torch.equal(logits, replacements[0]):
        return None
    layer_input, layer_output = calls[0]
    if layer_input.shape != states.shape or layer_output.shape != product.shape:
        return None
    exact = (
        max(relative_difference(layer_input, states), relative_difference(layer_output, product))
        <= _RELATIVE[states.dtype] / 10
    )
    return head if exact else None


def trial_records(model: PreTrainedModel, lengths: Sequence[int]) -> list[Tensor]:
    """Returns token ids of records of these lengths, each record different."""
    return [random_token_ids(model, length, seed=index) for index, length in enumerate(lengths)]
