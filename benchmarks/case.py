"""A case to measure: a method on a model of random weights and records of random words. Without torch."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from core.schema.job_spec import RecordSet
from core.schema.record import Record
from core.schema.training import MasterWeights, Precision, Training
from core.unlearning.record_sampling import Cycle, forget_steps

METHODS = ("ascent_descent", "ascent_kl", "npo")
Lengths = Literal["short", "full"]

MEDIAN, SPREAD, SHORTEST, LONGEST = 60, 0.37, 20, 200
"""Lengths of TOFU's 4,000 questions with their answers (arXiv 2401.06121): log-normal. The standard deviation of the
logarithm is 0.33 in words and 0.37 in tokens; a word is 1.3 tokens in the vocabularies of today's models."""
FULL = 2048

SHAPES: dict[str, dict[str, Any]] = {
    "tiny": {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2},
    "small": {"hidden_size": 384, "intermediate_size": 1024, "num_hidden_layers": 6, "num_attention_heads": 6},
    "llama-1b": {
        "hidden_size": 2048,
        "intermediate_size": 8192,
        "num_hidden_layers": 16,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "tie_word_embeddings": True,
    },
    "llama-8b": {
        "hidden_size": 4096,
        "intermediate_size": 14336,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
    },
}
"""Llamas: `tiny` shows that the benchmark runs, `small` suits two CPU cores, the others are Llama 3 of 1 B and 8 B."""


@dataclass(frozen=True)
class Case:
    """The input of both sides. `steps` includes the first `warmup` steps, which are not timed."""

    method: str
    shape: str
    vocabulary: int
    lengths: Lengths
    steps: int
    records_per_step: int
    plain_batch: int
    """Records of a set in one forward of the plain trainer, which adds up gradients over a step as Trainer does."""

    precision: Precision = "float32"
    weights: MasterWeights = "float32"
    warmup: int = 1
    seed: int = 0

    def title(self) -> str:
        return f"{self.method}, {self.shape}, vocabulary {self.vocabulary:,}, {self.lengths} records"

    def training(self) -> Training:
        return Training(
            learning_rate=1e-4,
            scheduler="constant",
            warmup=0.0,
            optimizer="adamw",
            weight_decay=0.0,
            epochs=1,
            records_per_step=self.records_per_step,
            max_length=FULL,
            chat="raw",
            precision=self.precision,
            seed=self.seed,
            gradient_clip=1.0,
            micro_batch_tokens=4096,
            master_weights=self.weights,
            snapshot_every=0,
        )

    def records(self) -> tuple[list[Record], RecordSet]:
        """Returns as many records to forget as to keep: an epoch is `steps` updates and uses each record once."""
        generator = np.random.default_rng(self.seed)
        count = self.steps * self.records_per_step
        forget, retain = ([self._record(generator) for _ in range(count)] for _ in range(2))
        return forget, RecordSet(name="retain", kind="in_distribution", records=retain)

    def _record(self, generator: np.random.Generator) -> Record:
        length = FULL
        if self.lengths == "short":
            drawn = generator.lognormal(math.log(MEDIAN), SPREAD)
            length = int(min(max(drawn, SHORTEST), LONGEST))
        return Record(text=" ".join(f"w{word}" for word in generator.integers(0, self.vocabulary - 2, length)))


def step_records(forget: int, retain: int, training: Training) -> Iterator[tuple[list[int], list[int]]]:
    """Yields the records of each step, to forget and to keep, in the order of this service's trainer."""
    cycle = Cycle(retain, training.seed, 0)
    for _, records in forget_steps(forget, training.records_per_step, training.epochs, training.seed):
        yield records, cycle.draw(len(records))


def step_tokens(case: Case) -> list[int]:
    """Returns the number of tokens of each step, of both sets, without padding."""
    forget, retain = case.records()
    lengths = [[len((record.text or "").split()) for record in records] for records in (forget, retain.records)]
    steps = step_records(len(forget), len(retain.records), case.training())
    return [
        sum(lengths[0][record] for record in forget_records) + sum(lengths[1][record] for record in retain_records)
        for forget_records, retain_records in steps
    ]
