"""Rotary position embeddings whose factors depend on the length of the text: LongRoPE and dynamic NTK scaling."""

from collections.abc import Iterator, Mapping
from typing import Any

from transformers import PreTrainedConfig, PreTrainedModel

_BY_LENGTH = ("dynamic", "longrope")
_CACHED, _ORIGINAL, _CURRENT = "max_seq_len_cached", "original_inv_freq", "inv_freq"


def unscaled_length(config: PreTrainedConfig) -> int | None:
    """Returns the number of tokens up to which the factors do not depend on the length; None: they never do.

    A longer text chooses the factors of every text beside it (LongRoPE, arXiv 2402.13753; dynamic NTK: the `dynamic`
    type of transformers).
    """
    text = config.get_text_config()
    names = ("original_max_position_embeddings", "max_position_embeddings")
    lengths: list[int] = []
    for parameters in _length_dependent(text):
        candidates = [parameters.get(names[0]), *(getattr(text, name, None) for name in names)]
        lengths += [int(length) for length in candidates if length]
    return min(lengths, default=None)


def context_scaling(config: PreTrainedConfig) -> float:
    """Returns how many times longer than its config's context a text may be.

    A config with dynamic scaling names the context before scaling.
    """
    dynamic = _length_dependent(config.get_text_config(), ("dynamic",))
    return max([1.0, *(float(parameters.get("factor") or 1.0) for parameters in dynamic)])


def _length_dependent(config: PreTrainedConfig, kinds: tuple[str, ...] = _BY_LENGTH) -> Iterator[Mapping[str, Any]]:
    """Yields the config's rotary parameters of length-dependent kinds; some configs keep them for each layer type."""
    for name in ("rope_parameters", "rope_scaling"):
        parameters = getattr(config, name, None)
        if not isinstance(parameters, Mapping):
            continue
        for part in (parameters, *(value for value in parameters.values() if isinstance(value, Mapping))):
            if any(kind in str(part.get("rope_type", part.get("type", ""))) for kind in kinds):
                yield part


def reset_dynamic_factors(model: PreTrainedModel) -> None:
    """Resets dynamic factors to those of a fresh model.

    They keep the values of the longest text so far, which would make a text's figures depend on the texts before it.
    """
    for module in model.modules():
        for name in [name for name in vars(module) if name.endswith(_CACHED)]:
            prefix = name.removesuffix(_CACHED)
            original = getattr(module, prefix + _ORIGINAL, None)
            shortest = getattr(module, "original_max_seq_len", None)
            if original is None or shortest is None or getattr(module, name) == shortest:
                continue
            current = getattr(module, prefix + _CURRENT)
            setattr(module, prefix + _CURRENT, original.to(current.device))
            setattr(module, name, shortest)
