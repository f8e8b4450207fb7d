"""A tiny configuration of every causal language model that transformers knows, made from the architecture's own.

Sizes are recognised by their names in the configurations. Where an architecture refuses a configuration, others are
tried. A table by name holds only the settings that no rule can know.
"""

import dataclasses
import re
from collections.abc import Iterator, Mapping
from typing import Any

from transformers import CONFIG_MAPPING, PreTrainedConfig
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from tests.architectures.exceptions import EXCEPTIONS
from tests.architectures.sizes import HEAD, HEADS, KEPT, KEY_HEADS, LAYERS, OTHER, SIZES, TRAINED_CONTEXT, VOCABULARY


def names() -> list[str]:
    """Returns the model types of all causal language models of the installed transformers, in alphabetical order."""
    return sorted(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES)


def architecture(name: str) -> str:
    """Returns the name of a model type's class."""
    return str(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES[name])


def candidates(name: str, changes: Mapping[str, Any]) -> Iterator[PreTrainedConfig]:
    """Yields tiny configurations of the model type, the likeliest first; `changes` are a variant's own settings.

    Configurations that the class refuses are left out. If it refuses all, its last error is raised.
    """
    kind = CONFIG_MAPPING[name]
    last: Exception | None = None
    accepted = False
    for filled in (False, True):
        for lists in ("kinds", "none"):
            for key_heads in (2, HEADS):
                for layers in (None, 2, 4, 6):
                    try:
                        own = _settings(kind, _Way(lists == "kinds", filled, key_heads, layers))
                        config = kind(**own | dict(changes))
                    except Exception as error:  # noqa: BLE001 - a class may raise anything for sizes that do not fit
                        last = error
                        continue
                    accepted = True
                    _name_tokens(config)
                    yield config
    if not accepted and last is not None:
        raise last


@dataclasses.dataclass(frozen=True)
class _Way:
    """How sizes are made small."""

    lists: bool
    """Whether lists with an entry for each layer are shortened; else the class makes them again."""
    filled: bool
    """Whether sizes that the class leaves open are set too."""
    key_heads: int
    layers: int | None
    """None: as many as show every kind of layer."""


def _settings(kind: type[PreTrainedConfig], way: _Way) -> dict[str, Any]:
    """Returns the class's own settings with every size made small."""
    own = _own(kind)
    count = _layers(own)
    places = _places(own, count) if way.layers is None else list(range(way.layers))
    settings: dict[str, Any] = {}
    for field, (default, value) in own.items():
        if isinstance(value, PreTrainedConfig):
            settings[field] = type(value)(**_settings(type(value), way))
        elif re.fullmatch(LAYERS, field) and isinstance(default, int):
            settings[field] = len(places)
        elif re.fullmatch(KEY_HEADS, field) and isinstance(default, int):
            settings[field] = way.key_heads
        elif isinstance(default, int) and not isinstance(default, bool):
            settings[field] = _size(field, default)
        elif value is None and way.filled:
            sizes = [*SIZES, (KEY_HEADS, way.key_heads)]
            settings[field] = next((size for pattern, size in sizes if re.fullmatch(pattern, field)), None)
        elif _of_layers(value, count) and way.lists:
            settings[field] = [value[place] for place in places]
        elif isinstance(value, dict) and field == "rope_parameters":
            settings[field] = _rotary(value)
    settings = {field: value for field, value in settings.items() if value != own[field][0]}
    return settings | dict(EXCEPTIONS.get(kind.model_type, {}))


def _own(kind: type[PreTrainedConfig]) -> dict[str, tuple[Any, Any]]:
    """Returns, for each setting of the class, its default and the value in an instance.

    The value is the default again where the class refuses its own defaults.
    """
    try:
        instance = vars(kind())
    except Exception:  # noqa: BLE001 - a class may raise anything for its own defaults
        instance = {}
    own = {}
    for field in dataclasses.fields(kind):
        default = field.default
        if default is dataclasses.MISSING:
            default = None if field.default_factory is dataclasses.MISSING else field.default_factory()
        own[field.name] = (default, instance.get(field.name, default))
    return own


def _layers(own: Mapping[str, tuple[Any, Any]]) -> int:
    return next(
        (
            value
            for field, (_, value) in own.items()
            if re.fullmatch(LAYERS, field) and isinstance(value, int) and value
        ),
        0,
    )


def _places(own: Mapping[str, tuple[Any, Any]], count: int) -> list[int]:
    """Returns the place of a layer of every kind, two at least. Layers of one kind have equal entries in every list."""
    lists = [value for _, value in own.values() if _of_layers(value, count)]
    kinds: dict[str, int] = {}
    for place in range(count):
        kinds.setdefault(repr([value[place] for value in lists if isinstance(value[place], str | int | float)]), place)
    places = list(kinds.values())
    return places if len(places) > 1 else [0, 1]


def _of_layers(value: Any, count: int) -> bool:
    """Whether it is a list with an entry for each layer, other than the layers' numbers."""
    return isinstance(value, list | tuple) and 0 < count == len(value) and list(value) != list(range(count))


def _size(field: str, default: int) -> int:
    for pattern, size in SIZES:
        if re.fullmatch(pattern, field):
            return min(size, default) if default > 0 else default
    return default if default <= 8 or re.fullmatch(KEPT, field) else OTHER


def _rotary(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Returns rotary parameters with sections that fit into small heads."""
    small = {}
    for field, value in parameters.items():
        if isinstance(value, Mapping):
            small[field] = _rotary(value)
        elif field == "mrope_section":
            half = int(HEAD * parameters.get("partial_rotary_factor", 1.0)) // 2
            small[field] = [half - 2 * (half // 3), half // 3, half // 3]
        elif field == "original_max_position_embeddings":
            small[field] = TRAINED_CONTEXT
        else:
            small[field] = value
    return small


def _name_tokens(config: PreTrainedConfig) -> None:
    """Sets special tokens that are in the small vocabulary: padding, beginning, end."""
    for part in (config, *(value for value in vars(config).values() if isinstance(value, PreTrainedConfig))):
        for field, token in (("pad_token_id", 0), ("bos_token_id", 1), ("eos_token_id", 2)):
            if field in vars(part) and vars(part)[field] is not None:
                setattr(part, field, token)
        for field, value in vars(part).items():
            if field.endswith("_token_id") and isinstance(value, int) and value >= VOCABULARY:
                setattr(part, field, 3)


def own_settings(name: str) -> dict[str, Any]:
    """Returns the settings that the model type has by default."""
    return {field: value for field, (_, value) in _own(CONFIG_MAPPING[name]).items()}
