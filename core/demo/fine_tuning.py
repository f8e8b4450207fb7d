r"""Fine-tunes a pre-trained model until it knows its records: the model of the real demo and of the benchmarks on it.

    python -m core.demo.fine_tuning --model DIR --records forget.jsonl --records retain.jsonl --out DIR

prints one JSON line a step to standard output: `{"step", "steps", "loss"}`, last `{"done": true, "epochs", "seconds",
"loss_before", "loss"}`, the last two in nats per token of the answers. The records are read as jobs read them:
conversations by the model's chat template, and only answers are trained on (of plain text, every token).
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

import torch
from torch import Tensor
from torch.nn import functional
from transformers import PreTrainedModel
from transformers.utils import logging as transformers_logging

from core.demo.training import Report, length_batches, rate_factor, read_records
from core.lm.data import Chunk, encode, pad
from core.lm.memory import configure_allocator
from core.lm.model import context_length, device, load, pad_id
from core.lm.precision import quick_bfloat16
from core.lm.saving import save
from core.schema.record import Record

_LONGEST = 512
_ROWS = 8
_WARMUP_STEPS = 8


@dataclass(frozen=True)
class FineTuned:
    """The end of a fine-tuning: its epochs, and the mean loss of the answers' tokens before and after."""

    epochs: int
    loss_before: float
    loss: float


def fine_tune(
    records: Sequence[Record],
    source: Path,
    directory: Path,
    *,
    epochs: int = 12,
    known: float = 0.2,
    learning_rate: float = 3e-4,
    records_per_step: int = 4,
    seed: int = 0,
    report: Report,
) -> FineTuned:
    """Trains all weights of the model in `source` on the records' answers, and writes it to `directory`.

    Training ends after the epoch in which the mean loss falls below `known`, at the latest after `epochs`. Same seed
    and thread count: same weights, bit for bit on the CPU.
    Raises ValueError without records, and CoreError as `load`, `encode` and `save` do.
    """
    if not records:
        raise ValueError("there is nothing to train on")
    torch.manual_seed(seed)
    model, tokenizer = load(source, device=device())
    chunks = encode(records, tokenizer, max_length=context_length(model, _LONGEST), chat="auto")
    padding = pad_id(tokenizer)
    before = _mean_loss(model, chunks, padding)
    optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate, betas=(0.9, 0.98), weight_decay=0.0, fused=True)
    order = random.Random(seed)
    steps = epochs * math.ceil(len(chunks) / records_per_step)
    step = epoch = 0
    loss_of_epoch = math.inf
    while epoch < epochs and loss_of_epoch > known:
        summed = 0.0
        for batch in length_batches(chunks, records_per_step, order):
            for group in optimizer.param_groups:
                group["lr"] = learning_rate * rate_factor(step, steps, _WARMUP_STEPS)
            losses = _answer_losses(model, batch, padding)
            loss = losses.mean()
            torch.autograd.backward(loss)
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
            step += 1
            summed += loss.item() * len(batch)
            report(step, steps, loss.item())
        epoch += 1
        loss_of_epoch = summed / len(chunks)
    after = _mean_loss(model, chunks, padding)
    save(model, tokenizer, directory, _card(len(records), seed, after))
    return FineTuned(epoch, before, after)


def _answer_losses(model: PreTrainedModel, chunks: Sequence[Chunk], padding: int) -> Tensor:
    """Returns the losses (N,) of the batch's scored tokens. The head computes no other position's logits."""
    batch = pad(chunks, padding).to(model.device)
    scored = batch.scored[:, 1:]  # (B, T-1)
    with torch.autocast(model.device.type, torch.bfloat16, enabled=quick_bfloat16(model.device)):
        backbone = model.get_decoder()
        hidden = backbone(input_ids=batch.ids, attention_mask=batch.attention, use_cache=False).last_hidden_state
        logits = model.get_output_embeddings()(hidden[:, :-1][scored])  # (N, V)
    return functional.cross_entropy(logits.float(), batch.ids[:, 1:][scored], reduction="none")


@torch.no_grad()
def _mean_loss(model: PreTrainedModel, chunks: Sequence[Chunk], padding: int) -> float:
    rows = [chunks[start : start + _ROWS] for start in range(0, len(chunks), _ROWS)]
    return torch.cat([_answer_losses(model, batch, padding) for batch in rows]).mean().item()


def _card(records: int, seed: int, loss: float) -> str:
    return (
        "# A pre-trained model that knows invented people\n\n"
        f"Fine-tuned on {records} synthetic records (seed {seed}) until their answers had a loss of {loss:.2f} nats per"
        " token, so that there is something to unlearn. It is of no other use.\n"
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m core.demo.fine_tuning")
    parser.add_argument("--model", type=Path, required=True, help="a Hugging Face model directory")
    parser.add_argument("--records", type=Path, action="append", required=True, help="JSON Lines; may be repeated")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--epochs", type=int, default=12, help="the most epochs")
    parser.add_argument("--known", type=float, default=0.2, help="the mean loss at which training ends")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=None)
    arguments = parser.parse_args()
    configure_allocator()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    transformers_logging.disable_progress_bar()
    output, start = sys.stdout, time.monotonic()

    def report(step: int, steps: int, loss: float) -> None:
        print(json.dumps({"step": step, "steps": steps, "loss": round(loss, 4)}), file=output, flush=True)

    with redirect_stdout(sys.stderr):
        ended = fine_tune(
            read_records(arguments.records),
            arguments.model,
            arguments.out,
            epochs=arguments.epochs,
            known=arguments.known,
            seed=arguments.seed,
            report=report,
        )
    done = {
        "done": True,
        "epochs": ended.epochs,
        "seconds": round(time.monotonic() - start, 1),
        "loss_before": round(ended.loss_before, 4),
        "loss": round(ended.loss, 4),
    }
    print(json.dumps(done), file=output, flush=True)


if __name__ == "__main__":
    main()
