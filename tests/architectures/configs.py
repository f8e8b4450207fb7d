"""A tiny configuration of every causal language model that transformers knows, made from the architecture's own.

Sizes are recognised by the names that configurations give them. What an architecture refuses is tried in other ways
before it is given up; only what no rule can know stands in a table by name.
"""

import dataclasses
import re
from collections.abc import Iterator, Mapping
from typing import Any

from transformers import CONFIG_MAPPING, PreTrainedConfig
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

VOCABULARY = 160
CONTEXT = 128
TRAINED_CONTEXT = 32
"""The context before it was stretched, for scaled rotary positions: the longer records reach beyond it."""
WINDOW = 8
"""Of sliding windows, chunks and top-k selections: every record but the shortest is longer."""

HIDDEN, HEADS, HEAD, INNER = 64, 4, 16, 96

SIZES: list[tuple[str, int]] = [
    (r"type_vocab_size|task_type_vocab_size", 2),
    (r"ngram_vocab_size_base", 50),
    (r"\w*vocab_size\w*|encoder_hash_byte_group_vocab|max_vocab", VOCABULARY),
    (r"original_max_position_embeddings|log_scaling_n_floor|floor_scale", TRAINED_CONTEXT),
    (r"\w*max_position_embeddings|n_positions|n_ctx|max_seq_len|context_length|model_max_length|max_(source|target)_positions", CONTEXT),
    (r"index_topk_blocks|linear_num_key_heads|index_n_heads|n_mamba_heads|num_nextn_predict_layers", 2),
    (r"index_block_size", 4),
    (r"sliding_window(_size)?|window_size|(swa|attention)_window_size|attention_chunk_size|keep_window_size"
     r"|local_attention(_window_len)?|index_topk|indexer_budget|rel_extent|block_size|(local|lsh)_attn_chunk_length", WINDOW),
    (r"mamba_n(um)?_heads|mamba_num_heads", 8),
    (r"mamba_d_ssm", 2 * HIDDEN),
    (r"\w*(attention_heads|num_heads|num_value_heads|n_heads?)", HEADS),
    (r"qk_(rope|nope)_head_dim", HEAD // 2),
    (r"rotary_dim", HEAD // 2),
    (r"\w*head_dim|kv_channels|attention_head_size|dim_head|d_head|d_kv|\w*head_size|mamba_(d_head|headdim)", HEAD),
    (r"\w*(lora_rank|lowrank|laurel_rank|adapter_rank|norm_rank|dt_rank|time_step_rank)", 8),
    (r"\w*d_state|\w*state_size|mamba_chunk_size|chunk_size|d_rel", 8),
    (r"attention_hidden_size", 2 * HIDDEN),
    (r"\w*(hidden_size_per_layer_input)", 8),
    (r"ple_embed_dim", HIDDEN),
    (r"\w*(intermediate_size\w*|ffn_dim|d_inner|n_inner|dim_ff|dff|d_ff|ffn_hidden_size|feed_forward_size|mlp_dim|latent_size)", INNER),
    (r"\w*(hidden_size|d_model|n_embd|dim_model|embedding_size|embed_proj_dim|embedding_dim|emb_dim|embed_dim|lru_width"
     r"|dim_model_base|hidden_dim|mid_dim)", HIDDEN),
    (r"num_experts_per_tok(en)?|moe_topk|moe_k|top_k_experts|top_k", 2),
    (r"n_group|num_expert_group", 2),
    (r"topk_group", 1),
    (r"\w*(num_\w*experts|n_routed_experts|zero_expert_num)", 4),
    (r"block_multiple_of|ffn_round_up_to_multiple_of|make_ngram_vocab_size_divisible_by", 8),
    (r"encoder_cross_output_size", 2 * HIDDEN),
    (r"image_size", 32),
    (r"patch_size", 8),
]  # fmt: skip
"""What a whole number is set to by its name, the first pattern that fits."""

LAYERS = r"\w*(num_hidden_layers|n_layers?|num_layers|num_blocks|(en|de)coder_layers|layers_per_stack|depth)"
KEY_HEADS = r"\w*(num_key_value_heads|num_kv_heads|num_query_groups)"
KEPT = r"\w*(_id|_ids|_index|_every|_interval|_offset|_period|kernel_size|kernel|_size_mult|seed|_ratio|_scale|theta|_langs)"


def names() -> list[str]:
    """The model types of all causal language models of the installed transformers, in alphabetical order."""
    return sorted(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES)


def architecture(name: str) -> str:
    """The class that a model type is made into."""
    return str(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES[name])


def candidates(name: str, changes: Mapping[str, Any]) -> Iterator[PreTrainedConfig]:
    """Tiny configurations of the model type, the likeliest first; `changes` are a variant's own settings.

    Configurations that the class refuses are left out, unless it refuses all: then its last word is raised.
    """
    kind = CONFIG_MAPPING[name]
    last: Exception | None = None
    made = False
    for filled in (False, True):
        for lists in ("kinds", "none"):
            for key_heads in (2, HEADS):
                for layers in (None, 2, 4, 6):
                    try:
                        own = _settings(kind, _Way(lists == "kinds", filled, key_heads, layers))
                        config = kind(**own | dict(changes))
                    except Exception as error:  # noqa: BLE001 - whatever a class says of sizes it does not like
                        last = error
                        continue
                    made = True
                    _name_tokens(config)
                    yield config
    if not made and last is not None:
        raise last


@dataclasses.dataclass(frozen=True)
class _Way:
    """How sizes are made small: `lists`: what is said of each layer is set to the kinds that there are, else left for
    the class to say again; `filled`: sizes that the class leaves open are set too; `layers` None: as many as show
    every kind of layer."""

    lists: bool
    filled: bool
    key_heads: int
    layers: int | None


def _settings(kind: type[PreTrainedConfig], way: _Way) -> dict[str, Any]:
    """The class's own settings with every size made small."""
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
    """Each setting of the class: its default, and what the class makes of it (the default again, where it does not
    bear its own defaults)."""
    try:
        made = vars(kind())
    except Exception:  # noqa: BLE001 - whatever a class says of its own defaults
        made = {}
    own = {}
    for field in dataclasses.fields(kind):
        default = field.default
        if default is dataclasses.MISSING:
            default = None if field.default_factory is dataclasses.MISSING else field.default_factory()
        own[field.name] = (default, made.get(field.name, default))
    return own


def _layers(own: Mapping[str, tuple[Any, Any]]) -> int:
    return next((value for field, (_, value) in own.items() if re.fullmatch(LAYERS, field) and value), 0)


def _places(own: Mapping[str, tuple[Any, Any]], count: int) -> list[int]:
    """A layer of every kind, two at least: kinds are told apart by all that is said of single layers."""
    said = [value for _, value in own.values() if _of_layers(value, count)]
    kinds: dict[str, int] = {}
    for place in range(count):
        kinds.setdefault(repr([value[place] for value in said if isinstance(value[place], str | int | float)]), place)
    places = list(kinds.values())
    return places if len(places) > 1 else [0, 1]


def _of_layers(value: Any, count: int) -> bool:
    """Whether it says something of each layer; the layers' numbers do not."""
    return isinstance(value, list | tuple) and 0 < count == len(value) and list(value) != list(range(count))


def _size(field: str, default: int) -> int:
    for pattern, size in SIZES:
        if re.fullmatch(pattern, field):
            return min(size, default) if default > 0 else default
    return default if default <= 8 or re.fullmatch(KEPT, field) else 16


def _rotary(said: Mapping[str, Any]) -> dict[str, Any]:
    """Rotary positions with sections that fit into small heads."""
    made = {}
    for field, value in said.items():
        if isinstance(value, Mapping):
            made[field] = _rotary(value)
        elif field == "mrope_section":
            half = int(HEAD * said.get("partial_rotary_factor", 1.0)) // 2
            made[field] = [half - 2 * (half // 3), half // 3, half // 3]
        elif field == "original_max_position_embeddings":
            made[field] = TRAINED_CONTEXT
        else:
            made[field] = value
    return made


def _name_tokens(config: PreTrainedConfig) -> None:
    """Special tokens that are in the small vocabulary: nothing, beginning, end."""
    for part in (config, *(value for value in vars(config).values() if isinstance(value, PreTrainedConfig))):
        for field, token in (("pad_token_id", 0), ("bos_token_id", 1), ("eos_token_id", 2)):
            if field in vars(part) and vars(part)[field] is not None:
                setattr(part, field, token)
        for field, value in vars(part).items():
            if field.endswith("_token_id") and isinstance(value, int) and value >= VOCABULARY:
                setattr(part, field, 3)


_SLIDING_AND_FULL = ["sliding_attention", "full_attention"]
_QUARTERS = {"rope_type": "default", "rope_theta": 10000.0}

EXCEPTIONS: dict[str, Mapping[str, Any]] = {
    "bamba": {"attn_layer_indices": [1]},
    "cohere_compass_text": {
        "layer_types": _SLIDING_AND_FULL,
        "num_hidden_layers": 2,
        "rope_parameters": {"sliding_attention": _QUARTERS, "full_attention": None},
    },
    "dbrx": {"attn_config": {"rope_theta": 10000.0, "kv_n_heads": 2, "clip_qkv": 4.0}},
    "dots1": {"n_routed_experts": 4, "n_shared_experts": 1, "num_experts_per_tok": 2, "n_group": 1, "topk_group": 1},
    "gemma3n_text": {
        "num_hidden_layers": 4,
        "layer_types": _SLIDING_AND_FULL * 2,
        "num_kv_shared_layers": 2,
        "intermediate_size": INNER,
        "activation_sparsity_pattern": [0.95, 0.0, 0.0, 0.0],
    },
    "gpt_neo": {"num_layers": 2, "attention_types": [[["global", "local"], 1]]},
    "granitemoehybrid": {"layer_types": ["linear_attention", "full_attention"], "num_hidden_layers": 2},
    "jamba": {"attn_layer_period": 2, "attn_layer_offset": 1, "num_hidden_layers": 4},
    "lfm2": {"layer_types": ["conv", "full_attention", "conv"], "num_hidden_layers": 3},
    "lfm2_moe": {"layer_types": ["conv", "full_attention", "conv"], "num_hidden_layers": 3, "num_dense_layers": 1},
    "longcat_flash": {"head_dim": HEAD // 2},
    "mamba2": {"num_heads": 8},
    "qwen4_exp_text": {
        "layer_types": ["linear_attention", "indexed_attention"],
        "num_hidden_layers": 2,
        "num_key_value_heads": 2,
        "indexer_n_heads": 2,
        "indexer_kv_heads": 1,
        "indexer_head_dim": HEAD,
        "indexer_budget": WINDOW,
        "indexer_compress_ratio": 2,
    },
    "recurrent_gemma": {"block_types": ["recurrent", "attention"], "num_hidden_layers": 2},
    "reformer": {
        "is_decoder": True,
        "attn_layers": ["local", "lsh", "local"],
        "axial_pos_shape": (8, 16),
        "axial_pos_embds_dim": (16, HIDDEN - 16),
        "num_buckets": 4,
        "hash_seed": 0,
    },
    "xlstm": {"num_heads": 4, "qk_dim_factor": 1.0, "v_dim_factor": 1.0, "chunk_size": 16},
    "xmod": {"default_language": "en_XX"},
    "zamba": {
        "layers_block_type": ["linear_attention", "hybrid", "linear_attention", "hybrid"],
        "num_hidden_layers": 4,
    },
}
"""Settings by model type that no rule above can know."""


def own_settings(name: str) -> dict[str, Any]:
    """The settings that the model type has, as it comes."""
    return {field: value for field, (_, value) in _own(CONFIG_MAPPING[name]).items()}
