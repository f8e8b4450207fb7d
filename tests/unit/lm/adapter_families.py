"""Tiny models of families on which adapters once failed, each with its own features."""

import torch
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from tests.unit.lm.tiny import VOCABULARY

_SHAPE = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 64,
    "initializer_range": 0.2,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
_EXPERTS = {"num_experts_per_tok": 2, "moe_intermediate_size": 16}
_ZAMBA = {
    "num_hidden_layers": 4,
    "layers_block_type": ["mamba", "hybrid", "mamba", "hybrid"],
    "hybrid_layer_ids": [1, 3],
    "num_mem_blocks": 1,
    "use_shared_attention_adapter": True,
    "adapter_rank": 4,
    "attention_hidden_size": 64,
    "attention_head_dim": 16,
    "num_key_value_heads": 4,
    "mamba_d_state": 8,
    "mamba_headdim": 16,
    "n_mamba_heads": 4,
    "mamba_ngroups": 1,
}

FAMILIES = {
    "llama": _SHAPE,
    "gpt2": {"vocab_size": VOCABULARY, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64},
    "falcon": {"vocab_size": VOCABULARY, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4},
    "mixtral": {**_SHAPE, "num_local_experts": 4, "num_experts_per_tok": 2},
    "qwen2_moe": {**_SHAPE, **_EXPERTS, "num_experts": 4, "shared_expert_intermediate_size": 24},
    "phimoe": {**_SHAPE, "num_local_experts": 4, "num_experts_per_tok": 2},
    "llama4_text": {**_SHAPE, "intermediate_size_mlp": 48, "num_local_experts": 4, "moe_layers": [1]},
    "deepseek_v3": {
        **_SHAPE,
        **_EXPERTS,
        "num_key_value_heads": 4,
        "n_routed_experts": 4,
        "n_shared_experts": 1,
        "n_group": 1,
        "topk_group": 1,
        "first_k_dense_replace": 1,
        "q_lora_rank": 16,
        "kv_lora_rank": 16,
        "qk_rope_head_dim": 8,
        "qk_nope_head_dim": 8,
        "v_head_dim": 8,
    },
    "gpt_oss": {**_SHAPE, "num_local_experts": 4, "num_experts_per_tok": 2, "sliding_window": 16},
    "granitemoeshared": {**_SHAPE, "num_local_experts": 4, "num_experts_per_tok": 2, "shared_intermediate_size": 24},
    "jetmoe": {**_SHAPE, "num_local_experts": 4, "kv_channels": 8},
    "mamba": {**_SHAPE, "state_size": 8, "time_step_rank": 4},
    "jamba": {
        **_SHAPE,
        "num_experts": 4,
        "num_experts_per_tok": 2,
        "attn_layer_period": 2,
        "attn_layer_offset": 1,
        "expert_layer_period": 2,
        "expert_layer_offset": 1,
        "mamba_d_state": 8,
        "mamba_dt_rank": 4,
        "use_mamba_kernels": False,
    },
    "zamba2": {**_SHAPE, **_ZAMBA},
}


def family(kind: str, *, seed: int = 0) -> PreTrainedModel:
    """Returns a model in float32, with weights larger than a fresh model's; the same for the same seed."""
    torch.manual_seed(seed)
    return AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **FAMILIES[kind])).float().eval()
