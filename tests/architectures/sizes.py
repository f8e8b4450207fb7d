"""Small sizes for the settings of configurations, by the names that architectures give them."""

VOCABULARY = 160
CONTEXT = 128
TRAINED_CONTEXT = 32
"""The context before it was stretched, for scaled rotary positions: the longer records reach beyond it."""
WINDOW = 8
"""Tokens of sliding windows, chunks and top-k selections: every record but the shortest is longer."""

HIDDEN, HEADS, HEAD, INNER = 64, 4, 16, 96

SIZES: list[tuple[str, int]] = [
    (r"type_vocab_size|task_type_vocab_size", 2),
    (r"ngram_vocab_size_base", 50),
    (r"\w*vocab_size\w*|encoder_hash_byte_group_vocab|max_vocab", VOCABULARY),
    (r"original_max_position_embeddings|log_scaling_n_floor|floor_scale", TRAINED_CONTEXT),
    (r"\w*max_position_embeddings|max_(source|target)_positions|n_positions|n_ctx|max_seq_len", CONTEXT),
    (r"context_length|model_max_length", CONTEXT),
    (r"index_topk_blocks|linear_num_key_heads|index_n_heads|n_mamba_heads|num_nextn_predict_layers", 2),
    (r"index_block_size", 4),
    (r"sliding_window(_size)?|window_size|(swa|attention)_window_size|local_attention(_window_len)?", WINDOW),
    (r"attention_chunk_size|(local|lsh)_attn_chunk_length|keep_window_size|rel_extent|block_size", WINDOW),
    (r"index_topk|indexer_budget", WINDOW),
    (r"mamba_n(um)?_heads|mamba_num_heads", 8),
    (r"mamba_d_ssm", 2 * HIDDEN),
    (r"\w*(attention_heads|num_heads|num_value_heads|n_heads?)", HEADS),
    (r"qk_(rope|nope)_head_dim|rotary_dim", HEAD // 2),
    (r"\w*head_dim|kv_channels|attention_head_size|dim_head|d_head|d_kv|\w*head_size", HEAD),
    (r"mamba_(d_head|headdim)", HEAD),
    (r"\w*(lora_rank|lowrank|laurel_rank|adapter_rank|norm_rank|dt_rank|time_step_rank)", 8),
    (r"\w*d_state|\w*state_size|mamba_chunk_size|chunk_size|d_rel|\w*hidden_size_per_layer_input", 8),
    (r"attention_hidden_size|encoder_cross_output_size", 2 * HIDDEN),
    (r"\w*(intermediate_size\w*|ffn_dim|d_inner|n_inner|dim_ff|dff|d_ff|ffn_hidden_size)", INNER),
    (r"\w*(feed_forward_size|mlp_dim|latent_size)", INNER),
    (r"adapter_(in|out)_dim|adapter_input_size", HIDDEN),
    (r"hidden_size_global|\w*(hidden_size|d_model|n_embd|dim_model|dim_model_base|hidden_dim|mid_dim)", HIDDEN),
    (r"\w*(embedding_size|embed_proj_dim|embedding_dim|emb_dim|embed_dim|lru_width)", HIDDEN),
    (r"num_experts_per_tok(en)?|moe_topk|moe_k|top_k_experts|top_k", 2),
    (r"n_group|num_expert_group", 2),
    (r"topk_group", 1),
    (r"\w*(num_\w*experts|n_routed_experts|zero_expert_num)", 4),
    (r"block_multiple_of|ffn_round_up_to_multiple_of|make_ngram_vocab_size_divisible_by", 8),
    (r"image_size", 32),
    (r"patch_size", 8),
]
"""The value of an integer by its name: that of the first pattern that fits."""

LAYERS = r"\w*(num_hidden_layers|n_layers?|num_layers|num_blocks|(en|de)coder_layers|layers_per_stack|depth)"
KEY_HEADS = r"\w*(num_key_value_heads|num_kv_heads|num_query_groups)"
KEPT = r"\w*(_id|_ids|_index|_every|_interval|_offset|_period|kernel_size|kernel|seed|_ratio|_scale|theta|_langs)"
"""Numbers that are no sizes."""
OTHER = 16
"""The value of any other number above 8."""
