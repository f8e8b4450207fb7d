"""Settings by model type that no rule of `configs` can know."""

from collections.abc import Mapping
from typing import Any

from tests.architectures.sizes import CONTEXT, HEAD, HEADS, HIDDEN, INNER, WINDOW

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
    "dots3_note_audio_encoder": {"num_hidden_layers": 1},
    "dots3_note_text": {
        "swa_num_attention_heads": HEADS,
        "swa_num_key_value_heads": HEADS,
        "swa_q_lora_rank": 8,
        "swa_kv_lora_rank": 8,
        "swa_head_dim": HEAD,
        "swa_qk_nope_head_dim": HEAD // 2,
        "swa_v_head_dim": HEAD,
        "sliding_window": WINDOW,
    },
    "dots3_note_vision_encoder": {"pyramid_num_routed": [-1, 4], "num_hidden_layers": 2},
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
    "xlstm": {
        "num_heads": 4,
        "qk_dim_factor": 1.0,
        "v_dim_factor": 1.0,
        "chunk_size": 16,
        "max_inference_chunksize": CONTEXT,
    },
    "xmod": {"default_language": "en_XX"},
    "zamba": {
        "layers_block_type": ["linear_attention", "hybrid", "linear_attention", "hybrid"],
        "num_hidden_layers": 4,
    },
}
