"""The catalogue of relearning attacks: the text, the optimiser, the rate and the start of each. Without torch.

None of them takes part in any training of this service, so that no method can be fitted to them.
"""

from dataclasses import dataclass
from typing import Literal

from core.schema.figure_names import RelearningAttackName

Text = Literal["forget", "reworded", "retain", "unrelated"]
"""The text that an attacker trains on: forget records that are not measured, the same in other words, retain records,
or general ones (else unseen, else retain ones)."""

Optimizer = Literal["adamw", "sgd", "lora"]
"""AdamW or plain gradient descent on all weights, or AdamW on an adapter of low rank."""

LARGE = 1_000_000_000
"""From this many weights on, rates are lower, and attacks with no optimiser of their own train an adapter: gradients
and moments of all weights would take three times the model's memory."""


@dataclass(frozen=True)
class RelearningAttack:
    """One way to fine-tune a model; None stands for the measurement's own parameter, or for the default."""

    text: Text = "forget"
    optimizer: Optimizer | None = None
    learning_rate: float | None = None
    shown: int | None = None
    int4: bool = False
    """The attack starts from the model's INT4 copy."""

    def optimizer_for(self, weights: int) -> Optimizer:
        """The optimiser on a model of so many weights."""
        return self.optimizer or ("lora" if weights >= LARGE else "adamw")


RELEARNING_ATTACKS: dict[RelearningAttackName, RelearningAttack] = {
    "forget": RelearningAttack(),
    "unrelated": RelearningAttack(text="unrelated"),
    "retain": RelearningAttack(text="retain", shown=50),
    "reworded": RelearningAttack(text="reworded"),
    "shown_1": RelearningAttack(shown=1),
    "shown_100": RelearningAttack(shown=100),
    "lora": RelearningAttack(optimizer="lora"),
    "sgd": RelearningAttack(optimizer="sgd"),
    "rate_1e-5": RelearningAttack(optimizer="adamw", learning_rate=1e-5),
    "rate_3e-4": RelearningAttack(optimizer="adamw", learning_rate=3e-4),
    "int4": RelearningAttack(int4=True),
}

_RATES: dict[Optimizer, tuple[float, float]] = {"adamw": (1e-4, 2e-5), "lora": (1e-3, 2e-4), "sgd": (0.05, 0.01)}


def default_learning_rate(optimizer: Optimizer, weights: int) -> float:
    """The learning rate that models of this size are usually fine-tuned with."""
    small, large = _RATES[optimizer]
    return large if weights >= LARGE else small
