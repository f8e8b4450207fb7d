"""`python -m core.pipeline.throughput`: measures the throughput of the device that a job would get, in about a second.

Imports torch, writes `READY` to standard output, and waits for a line on standard input: importing takes longer than
measuring, and the worker says when no job disturbs the measurement. Then writes a `Throughput` as one line of JSON.
End of file instead of a line: the worker is gone, and the process ends.
"""

import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import torch
from torch.nn import functional
from transformers import LlamaConfig, LlamaForCausalLM

from core.lm.flops import ModelFlops
from core.lm.model import device
from core.lm.precision import training_precision
from core.schema.prefork import READY
from core.schema.throughput import Throughput

WIDTH, LAYERS, VOCABULARY = 256, 2, 2048
RECORDS, LENGTH = 16, 64
"""Rows of a batch and their tokens: as many tokens as a small job's micro-batch has."""
GPU_WIDTH, GPU_RECORDS = 2048, 64
"""On a GPU: a model that is narrower, or a smaller batch, spends its time on starting kernels."""
SECONDS = 0.6
"""Time for each of the two figures. One pass to warm up and one to measure are always made."""


def measure_throughput(on: torch.device, *, seconds: float = SECONDS, width: int | None = None) -> Throughput:
    """Returns the throughput of the fastest pass: slower ones tell of other processes, and of warming up."""
    gpu = on.type == "cuda"
    width, records = width or (GPU_WIDTH if gpu else WIDTH), GPU_RECORDS if gpu else RECORDS
    config = LlamaConfig(
        hidden_size=width,
        intermediate_size=3 * width,
        num_hidden_layers=LAYERS,
        num_attention_heads=width // 64,
        vocab_size=VOCABULARY,
        max_position_embeddings=LENGTH,
        tie_word_embeddings=True,
    )
    with torch.device(on):
        model = LlamaForCausalLM(config).eval()
        tokens = torch.randint(VOCABULARY, (records, LENGTH))
    count, pairs, flops = tokens.numel(), records * LENGTH**2, ModelFlops.of(model)

    def forward() -> torch.Tensor:
        logits: torch.Tensor = model(tokens).logits
        return logits

    def evaluate() -> None:
        # as a model that is stored in bfloat16 is measured: in it on a GPU, in float32 on the CPU
        with torch.no_grad(), _autocast(on, torch.bfloat16 if gpu else None):
            forward()

    def update() -> None:
        with _autocast(on, training_precision("auto", torch.float32, on)):
            logits = forward()
        functional.cross_entropy(logits.float().flatten(0, 1), tokens.flatten()).backward()  # type: ignore[no-untyped-call]
        model.zero_grad()

    return Throughput(
        width=width,
        forward=flops.forward(count, pairs) / _fastest(evaluate, on, seconds),
        update=flops.update(count, pairs) / _fastest(update, on, seconds),
    )


def _autocast(on: torch.device, dtype: torch.dtype | None) -> AbstractContextManager[object]:
    return nullcontext() if dtype is None else torch.autocast(on.type, dtype)


def _fastest(run: Callable[[], None], on: torch.device, seconds: float) -> float:
    """Returns the seconds of the fastest run, after one that warms up."""
    end = time.perf_counter() + seconds
    times: list[float] = []
    while len(times) < 2 or time.perf_counter() < end:
        began = time.perf_counter()
        run()
        if on.type == "cuda":
            torch.cuda.synchronize(on)
        times.append(time.perf_counter() - began)
    return min(times[1:])


def main() -> int:
    print(READY.decode(), end="", flush=True)
    if sys.stdin.readline():
        print(measure_throughput(device()).model_dump_json(), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
