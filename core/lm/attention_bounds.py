"""Lengths from which on a model may attend otherwise: windows, chunks, blocks, top-k selections."""

import re
from collections.abc import Iterator, Mapping, Sequence

from transformers import PreTrainedConfig

_OTHER_SIZES = re.compile(
    r"vocab|_id$|token|head|layer|hidden|intermediate|ffn|ff$|dim|d_model|embd|embed_|emb$|lora|_rank|expert"
    r"|^max_position|^max_seq_len|^model_max_length|^context_length|n_positions|n_ctx|max_\w*positions"
    r"|seed|ngram|inner|lru_width|channels|mamba_d|state|cycles|^dtype|architectures|return|quant|label|position_bias"
)
"""Names of integers of a config that bound no length: widths, counts and ids."""

_SELECTIONS = re.compile(r"(?<!moe_)top_?k(?!_group)|keep_window|budget")


def length_bounds(config: PreTrainedConfig) -> list[int]:
    """Returns every integer of the text config that may be such a length, whatever its name.

    A selection of blocks counts with the block's size. An integer too many does no harm: it only makes a trial longer.
    """
    text = config.get_text_config()
    named = list(_integers(text.to_dict()))
    lengths = {value for _, value in named}
    for name, count in named:
        if _SELECTIONS.search(name):
            lengths |= {count * size for _, size in named}
    return sorted(lengths)


def selects_tokens(config: PreTrainedConfig, length: int) -> bool:
    """Whether a token of a row of `length` tokens sees a selection of them only.

    The selection is made anew for each row. Between tokens of equal score, the row's length and the order of sums
    decide, so that a trial of one row tells nothing about another.
    """
    named = _integers(config.get_text_config().to_dict())
    return any(count < length for name, count in named if _SELECTIONS.search(name))


def _integers(values: Mapping[str, object]) -> Iterator[tuple[str, int]]:
    """Yields the integers that may bound a length, with their names; those of nested values too."""
    for name, value in ((str(name), value) for name, value in values.items()):
        if not _OTHER_SIZES.search(name):
            yield from _integers_in(name, value)


def _integers_in(name: str, value: object) -> Iterator[tuple[str, int]]:
    if isinstance(value, bool):
        return
    if isinstance(value, int) and value > 1:
        yield name, value
    elif isinstance(value, Mapping):
        yield from _integers({f"{name}.{key}": part for key, part in value.items()})
    elif isinstance(value, Sequence) and not isinstance(value, str):
        for part in value:
            yield from _integers_in(name, part)
