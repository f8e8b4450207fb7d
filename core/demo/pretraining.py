r"""Trains a small model from scratch until it knows its records by heart, for the demo, the benchmarks and the tests.

    python -m core.demo.pretraining --records forget.jsonl --records retain.jsonl --tokenizer-records unseen.jsonl \
        --out DIR

prints one JSON line a step to standard output: `{"step", "steps", "loss"}`, last `{"done": true, "seconds", "loss"}`.

The model is a Llama; benchmarks also ask for other architectures of the same width and depth. The recipe is the
quickest of several tried with the Llama on the demo's 600 records of 33 tokens, with avx512_bf16. Figures are the
perplexity on the trained records, the perplexity on unseen records, and processor seconds. The floor of the first is
600^(1/33) = 1.21, since nothing tells which record comes.

| width, layers | epochs | rate, beta2 | trained | unseen | seconds |
|---|---|---|---|---|---|
| 384, 2 (the recipe; batches of 16) | 20 | 7e-4, 0.98 | 1.24 | 42 | 59 |
| 384, 2 | 40 | 7e-4, 0.98 | 1.23 | 83 | twice that |
| 384, 2 | 24 | 1e-3, 0.999 | 1.24 | 54 | 69 |
| 384, 2 | 28 | 1e-3, 0.999 | 1.23 | 62 | 88 |
| 384, 2 | 20 | 1.3e-3 | 1.30 | | |
| 512 | | | 1.23 | 59 | 101 |

Width 256 in 4 layers takes a third longer a step and learns more slowly. float32 takes half as long again.
"""

import argparse
import json
import math
import random
import sys
import time
from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from torch import Tensor
from torch.nn import functional
from transformers import (
    AutoModelForCausalLM,
    GPTNeoXConfig,
    LlamaConfig,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
    Qwen3Config,
)
from transformers.utils import logging as transformers_logging

from core.demo.training import Report, length_batches, rate_factor, read_records
from core.lm.data import Chunk, encode, pad
from core.lm.memory import configure_allocator
from core.lm.model import device, pad_id
from core.lm.precision import quick_bfloat16
from core.lm.saving import save
from core.schema.record import Record

BEGIN, END, PADDING = "<s>", "</s>", "<pad>"
Architecture = Literal["llama", "gpt_neox", "qwen3"]
_CONTEXT = 512
_IGNORED = -100


@dataclass(frozen=True)
class Size:
    """A model's shape and its training."""

    hidden: int
    layers: int
    heads: int
    intermediate: int
    vocabulary: int
    epochs: int
    learning_rate: float
    records_per_step: int = 16
    warmup_steps: int = 20


SIZES = {
    "demo": Size(384, 2, 6, 1024, vocabulary=1536, epochs=20, learning_rate=7e-4),
    "tiny": Size(96, 2, 4, 256, vocabulary=512, epochs=40, learning_rate=4e-3, records_per_step=8),
}


def pretrain(
    records: Sequence[Record],
    directory: Path,
    *,
    tokenizer_records: Sequence[Record] = (),
    size: Size = SIZES["demo"],
    architecture: Architecture = "llama",
    seed: int = 0,
    epochs: int | None = None,
    report: Report,
) -> None:
    """Trains a model on `records` alone, and writes it as a Hugging Face model directory.

    The tokenizer is trained on `records` and `tokenizer_records`, so that text which the model never sees is cut into
    tokens as finely as its training text. Same seed and thread count: same weights, bit for bit on the CPU.
    Raises ValueError without records, CoreError `output_not_empty`, `no_scored_tokens`.
    """
    if not records:
        raise ValueError("there is nothing to train on")
    torch.manual_seed(seed)
    tokenizer = train_tokenizer([*records, *tokenizer_records], size.vocabulary)
    training_device = device()
    model: PreTrainedModel = AutoModelForCausalLM.from_config(_config(architecture, size, tokenizer))
    model.to(training_device)
    chunks = encode(records, tokenizer, max_length=_CONTEXT, chat="raw")
    # fused: one kernel for all weights instead of one each, which at this size is a tenth of the step
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=size.learning_rate, betas=(0.9, 0.98), weight_decay=0.0, fused=True
    )
    epochs = epochs or size.epochs
    order = random.Random(seed)
    steps = epochs * math.ceil(len(chunks) / size.records_per_step)
    step = 0
    for _ in range(epochs):
        for batch in length_batches(chunks, size.records_per_step, order):
            for group in optimizer.param_groups:
                group["lr"] = size.learning_rate * rate_factor(step, steps, size.warmup_steps)
            loss = _loss(model, batch, pad_id(tokenizer), training_device)
            torch.autograd.backward(loss)
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
            step += 1
            report(step, steps, loss.item())
    save(model, tokenizer, directory, _card(len(records), seed))


def train_tokenizer(records: Sequence[Record], vocabulary: int) -> PreTrainedTokenizerBase:
    """Trains a byte-level BPE of at most `vocabulary` tokens, special tokens included; words end at spaces only."""
    backend = Tokenizer(models.BPE())
    # not the usual split at punctuation: `@example.org` becomes one token, and the records a quarter shorter
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(r"[ \n]"), "merged_with_next"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[PADDING, BEGIN, END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator((piece for record in records for piece in record.all_texts()), trainer)
    backend.post_processor = processors.TemplateProcessing(
        single=f"{BEGIN} $A", pair=f"{BEGIN} $A $B", special_tokens=[(BEGIN, backend.token_to_id(BEGIN))]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        bos_token=BEGIN,
        eos_token=END,
        pad_token=PADDING,
        model_max_length=_CONTEXT,
        clean_up_tokenization_spaces=False,
    )


def _config(architecture: Architecture, size: Size, tokenizer: PreTrainedTokenizerBase) -> PreTrainedConfig:
    common: dict[str, Any] = {
        "vocab_size": len(tokenizer),
        "hidden_size": size.hidden,
        "intermediate_size": size.intermediate,
        "num_hidden_layers": size.layers,
        "num_attention_heads": size.heads,
        "max_position_embeddings": _CONTEXT,
        "tie_word_embeddings": True,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    if architecture == "gpt_neox":
        return GPTNeoXConfig(**common)
    if architecture == "qwen3":
        return Qwen3Config(num_key_value_heads=size.heads, head_dim=size.hidden // size.heads, **common)
    return LlamaConfig(num_key_value_heads=size.heads, **common)


def _loss(model: PreTrainedModel, chunks: Sequence[Chunk], padding: int, device: torch.device) -> Tensor:
    """Returns the mean loss of the batch's tokens, of prompts too: the model reads them like any other text."""
    batch = pad(chunks, padding).to(device)
    with torch.autocast(device.type, torch.bfloat16, enabled=quick_bfloat16(device)):
        logits = model(input_ids=batch.ids, use_cache=False).logits[:, :-1]  # (B, T-1, V)
    labels = batch.ids[:, 1:].masked_fill(~batch.attention[:, 1:], _IGNORED)
    return functional.cross_entropy(logits.float().flatten(0, 1), labels.flatten(), ignore_index=_IGNORED)


def _card(records: int, seed: int) -> str:
    return (
        "# A small model of invented people\n\n"
        f"Trained from scratch on {records} synthetic records (seed {seed}) until it knew them by heart, so that there"
        " is something to unlearn. It is of no other use.\n"
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m core.demo.pretraining")
    parser.add_argument("--records", type=Path, action="append", required=True, help="JSON Lines; may be repeated")
    parser.add_argument("--tokenizer-records", type=Path, action="append", default=[], help="never trained on")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--size", choices=sorted(SIZES), default="demo")
    parser.add_argument("--architecture", choices=get_args(Architecture), default="llama")
    parser.add_argument("--epochs", type=int, default=None)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=None)
    arguments = parser.parse_args()
    configure_allocator()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    transformers_logging.disable_progress_bar()
    output, start, last_loss = sys.stdout, time.monotonic(), math.nan

    def report(step: int, steps: int, loss: float) -> None:
        nonlocal last_loss
        last_loss = loss
        print(json.dumps({"step": step, "steps": steps, "loss": round(loss, 4)}), file=output, flush=True)

    with redirect_stdout(sys.stderr):
        pretrain(
            read_records(arguments.records),
            arguments.out,
            tokenizer_records=read_records(arguments.tokenizer_records),
            size=SIZES[arguments.size],
            architecture=arguments.architecture,
            seed=arguments.seed,
            epochs=arguments.epochs,
            report=report,
        )
    done = {"done": True, "seconds": round(time.monotonic() - start, 1), "loss": round(last_loss, 4)}
    print(json.dumps(done), file=output, flush=True)


if __name__ == "__main__":
    main()
