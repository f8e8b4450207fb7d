"""The variants of an architecture that are tried: its own tiny configuration, and others that it has settings for."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.architectures.configs import names, own_settings
from tests.architectures.sizes import HEAD, TRAINED_CONTEXT, WINDOW

LABELS = ("", "decoder", "sliding", "longrope", "dynamic", "untied", "tied")


@dataclass(frozen=True)
class Variant:
    """A model type with changed settings; `label` is empty for the unchanged architecture."""

    name: str
    label: str = ""
    changes: Mapping[str, Any] = field(default_factory=dict, hash=False)

    def __str__(self) -> str:
        return f"{self.name} {self.label}".strip()


def variants(name: str) -> list[Variant]:
    """Returns the architecture unchanged, and with the settings that its configuration offers.

    Those are windows, chunks, scaled positions, tied or untied embeddings, and a decoder's mask.
    """
    try:
        own = own_settings(name)
    except Exception:  # noqa: BLE001 - a class that refuses its own defaults: building reports it
        return [Variant(name)]
    offered = [Variant(name)]
    if own.get("is_decoder", None) is False:
        offered.append(Variant(name, "decoder", {"is_decoder": True}))
    if "sliding_window" in own and not own.get("layer_types"):
        offered.append(Variant(name, "sliding", {"sliding_window": WINDOW}))
    elif own.get("use_sliding_window") is False:
        sliding = {"use_sliding_window": True, "sliding_window": WINDOW, "max_window_layers": 0}
        offered.append(
            Variant(name, "sliding", sliding | {"layer_types": ["sliding_attention"] * 2, "num_hidden_layers": 2})
        )
    elif own.get("sliding_window", 0) is None and own.get("layer_types"):
        offered.append(
            Variant(
                name,
                "sliding",
                {"sliding_window": WINDOW, "layer_types": ["sliding_attention"] * 2, "num_hidden_layers": 2},
            )
        )
    rope = own.get("rope_parameters")
    if isinstance(rope, dict) and "rope_theta" in rope and "mrope_section" not in rope:
        offered.append(
            Variant(
                name,
                "dynamic",
                {
                    "rope_parameters": rope | {"rope_type": "dynamic", "factor": 4.0},
                    "max_position_embeddings": TRAINED_CONTEXT,
                },
            )
        )
    if "original_max_position_embeddings" in own and isinstance(rope, dict):
        offered.append(Variant(name, "longrope", {"rope_parameters": rope | _longrope()}))
    if isinstance(tied := own.get("tie_word_embeddings"), bool):
        offered.append(Variant(name, "untied" if tied else "tied", {"tie_word_embeddings": not tied}))
    return offered


def _longrope() -> dict[str, Any]:
    return {
        "rope_type": "longrope",
        "short_factor": [1.0] * (HEAD // 2),
        "long_factor": [2.0] * (HEAD // 2),
        "original_max_position_embeddings": TRAINED_CONTEXT,
    }


def all_variants() -> list[Variant]:
    """Returns all variants of all architectures, label by label, the unchanged ones first."""
    unsorted = [variant for name in names() for variant in variants(name)]
    return sorted(unsorted, key=lambda variant: (LABELS.index(variant.label), variant.name))
