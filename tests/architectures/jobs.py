"""Short jobs on a tiny model by the core's own pipeline, and the core's figures of the models that they deliver."""

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from core.demo.people import write_jsonl
from core.lm.data import Chunk
from core.lm.forward import Forward
from core.lm.model import load
from core.pipeline.run import Run
from core.schema.events import ChildEvent
from core.schema.job_spec import ChildMethod, FileRecords, UnlearnSpec
from core.schema.jobs import Output
from core.schema.training import Lora, Training
from tests.architectures import texts

ROWS = tuple(tuple(texts.ids(length, 200 + length)) for length in (37, 9))
"""Token ids whose logits are compared."""


def run(directory: Path, output: Path, *, lora: bool = False, deliver: Output = "full") -> list[ChildEvent]:
    """Runs a job of four updates and returns its events. Raises CoreError."""
    folder = output.parent
    for name, seed in (("forget", 1), ("retain", 2)):
        write_jsonl(texts.records(6, seed), folder / f"{name}.jsonl")
    spec = UnlearnSpec(
        job="job-of-a-sweep",
        model="tiny",
        directory=directory,
        method=ChildMethod(name="ascent_descent", parameters={}),
        training=Training(
            learning_rate=1e-2 if lora else 1e-3,
            scheduler="constant",
            warmup=0.0,
            optimizer="adamw",
            weight_decay=0.0,
            epochs=2,
            records_per_step=3,
            max_length=64,
            chat="raw",
            precision="float32",
            seed=0,
            gradient_clip=1.0,
            micro_batch_tokens=128,
            lora=Lora(rank=4, alpha=8.0) if lora else None,
        ),
        records=FileRecords(forget=folder / "forget.jsonl", retain=[folder / "retain.jsonl"]),
        output=output,
        deliver=deliver,
        measure=["likelihood"],
        threads=1,
    )
    events: list[ChildEvent] = []
    Run(spec, events.append, lambda: False, lambda: False, began=time.monotonic())()
    return events


def core_log_probabilities(directory: Path) -> list[NDArray[np.float64]]:
    """Returns the core's log-probabilities of ROWS' tokens but the first, by a directory's model: (T - 1,) each."""
    model, _ = load(directory, device=torch.device("cpu"))
    forward = Forward(model.requires_grad_(False))
    values = []
    for number, row in enumerate(ROWS):
        chunk = Chunk(torch.tensor(row), torch.arange(len(row)) > 0, number)  # type: ignore[arg-type]
        values.append(-forward.losses(forward.hidden([chunk]), forward.targets([chunk])))
    return [value.double().numpy() for value in values]


def plain_log_probabilities(logits: list[NDArray[np.float64]]) -> list[NDArray[np.float64]]:
    """Returns the same from logits (T, V)."""
    return [
        torch.log_softmax(torch.from_numpy(row_logits), -1)[torch.arange(len(row) - 1), torch.tensor(row[1:])].numpy()
        for row, row_logits in zip(ROWS, logits, strict=True)
    ]


def largest_difference(actual: list[NDArray[np.float64]], expected: list[NDArray[np.float64]]) -> float:
    """Returns the largest difference of log-probabilities, in nats; infinite for NaN."""
    worst = max(float(np.abs(left - right).max()) for left, right in zip(actual, expected, strict=True))
    return worst if worst == worst else float("inf")


def write_legacy_config(directory: Path) -> bool:
    """Writes config.json as transformers 4 does, with flat settings of rotary positions. False where that cannot be."""
    path = directory / "config.json"
    config: dict[str, Any] = json.loads(path.read_text())
    if "text_config" in config:
        return False
    rope = config.get("rope_parameters")
    if rope is not None:
        if not isinstance(rope, dict) or any(isinstance(value, dict) for value in rope.values()):
            return False
        del config["rope_parameters"]
        config["rope_theta"] = rope.pop("rope_theta", 10000.0)
        if (share := rope.pop("partial_rotary_factor", None)) is not None:
            config["partial_rotary_factor"] = share
        config["rope_scaling"] = None if rope.get("rope_type", "default") == "default" else rope
    path.write_text(json.dumps(config, indent=2))
    return True
