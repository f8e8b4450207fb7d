"""Model directories of any size with random weights, and records for them: what memory and speed are measured on."""

import random
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from core.demo.people import people, write_jsonl
from core.demo.pretraining import train_tokenizer
from core.schema.record import Record


@dataclass(frozen=True)
class Shape:
    """A Llama's sizes and the dtype of its files."""

    hidden: int
    layers: int
    heads: int
    key_value_heads: int
    intermediate: int
    vocabulary: int
    dtype: torch.dtype = torch.bfloat16
    tied: bool = False
    context: int = 4096


SHAPES = {
    "4M, 2k": Shape(256, 4, 4, 4, 704, 2048, dtype=torch.float32, tied=True),
    "19M, 32k": Shape(256, 4, 4, 4, 704, 32768),
    "30M, 2k": Shape(512, 8, 8, 4, 1536, 2048),
    "53M, 32k": Shape(512, 7, 8, 4, 1408, 32768),
    "120M, 2k": Shape(1024, 9, 16, 8, 2816, 2048),
    "135M, 49k": Shape(576, 30, 9, 3, 1536, 49152, tied=True, context=8192),
    "140M, 32k": Shape(896, 8, 14, 7, 2560, 32768),
    "1.2B, 32k": Shape(2048, 17, 16, 8, 8192, 32768),
}


def write_model(shape: Shape, directory: Path, *, seed: int = 0) -> Path:
    """A directory that a job may start from: weights drawn at random, a tokenizer of at most 2,048 tokens."""
    torch.manual_seed(seed)
    tokenizer = train_tokenizer(people(400, seed), min(shape.vocabulary, 2048))
    config = LlamaConfig(
        vocab_size=shape.vocabulary,
        hidden_size=shape.hidden,
        intermediate_size=shape.intermediate,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.key_value_heads,
        max_position_embeddings=shape.context,
        tie_word_embeddings=shape.tied,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    LlamaForCausalLM(config).to(shape.dtype).save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    return directory


def write_records(path: Path, *, records: int, words: int, seed: int) -> Path:
    """JSON Lines of `records` plain texts of so many words each (a word is two to three tokens)."""
    source = " ".join(record.text or "" for record in people(400, seed)).split()
    draw = random.Random(seed)
    write_jsonl([Record(text=" ".join(draw.choices(source, k=words))) for _ in range(records)], path)
    return path
