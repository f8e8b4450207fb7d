"""Plain transformers, one record at a time, with which the core's results are compared."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import BoolTensor, LongTensor, Tensor
from transformers import AutoModelForCausalLM, PreTrainedConfig, PreTrainedModel

from core.lm.data import Chunk

VOCABULARY = 97
SIZES: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
LONGROPE = {
    "rope_type": "longrope",
    "rope_theta": 10000.0,
    "short_factor": [1.0] * 4,
    "long_factor": [2.0, 4.0, 6.0, 8.0],
    "original_max_position_embeddings": 32,
    "factor": 4.0,
}
DYNAMIC = {"rope_type": "dynamic", "rope_theta": 10000.0, "factor": 4.0}


def make_model(
    config: PreTrainedConfig, dtype: torch.dtype = torch.float64, attention: str | None = None
) -> PreTrainedModel:
    """Returns a model of the config, the same every time. Its weights are large: predictions are far from uniform."""
    torch.manual_seed(0)
    model: PreTrainedModel = AutoModelForCausalLM.from_config(config, attn_implementation=attention)
    for name, weight in model.named_parameters():
        torch.nn.init.normal_(weight, mean=float("norm" in name and weight.ndim == 1), std=0.2)
    return model.to(dtype).eval()


def random_chunks(*lengths: int) -> list[Chunk]:
    """Returns records of these lengths, every token but the first scored."""
    generator = torch.Generator().manual_seed(3)
    records = [torch.randint(3, VOCABULARY, (length,), generator=generator) for length in lengths]
    return [Chunk(LongTensor(ids), BoolTensor(torch.arange(len(ids)) > 0), place) for place, ids in enumerate(records)]


def log_probabilities(model: PreTrainedModel, records: Sequence[Chunk]) -> Tensor:
    """Returns the log-probabilities of the scored tokens, (N,), with gradients."""
    rows = []
    for record in records:
        logits = model(input_ids=record.ids[None], use_cache=False).logits[0, :-1]
        rows.append(torch.log_softmax(logits.to(torch.promote_types(logits.dtype, torch.float32)), -1))
    targets = torch.cat([record.ids[1:] for record in records])
    return torch.cat(rows).gather(1, targets[:, None])[:, 0]
