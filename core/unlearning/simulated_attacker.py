"""A simulated attacker: the forget term is taken where somebody who relearns a part of the forget set would arrive.

Beside the weights θ there is a way δ to attacked weights θ + δ. Every so often it starts anew (a fork, arXiv
2506.12484): from δ = 0, with another part of the forget set to relearn, another rate and another length. At each update
the attacker makes one step, δ ← δ - rate * sign(∇NLL(θ + δ)) on his part, and the forget term's gradient on other
records at θ + δ is added to the plain gradient, as if δ did not depend on θ (first order). Targets that move with the
model are computed at θ + δ: unseen text grows easier under such an attack, too.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from core.lm.forward import Forward
from core.unlearning.accumulation import Accumulator
from core.unlearning.method import MovingTargets
from core.unlearning.objective import StepValues, WeightedTerm
from core.unlearning.retain_losses import descent
from core.unlearning.tokenized_set import TokenizedSet

LENGTHS = (4, 16)
"""The least and the most steps of one attack; drawn uniformly."""
RATES = (0.5, 5.0)
"""The lowest and the highest rate of an attack, as multiples of the training's; drawn uniformly by logarithm."""
SHOWN = 0.25
"""The share of the forget set that an attacker relearns."""
RECORDS = 0.5
"""Records of an attacker's step, and of the forget term's at the attacked weights, for each forget record of a step."""
WEIGHT = 0.75
"""The weight of the forget term at the attacked weights, where the plain term's is 1. It is multiplied by the root of
the plain term's factor. With 1, LUME keeps 0.50 of the retrained model's perplexity after relearning, and the demo's
people to keep lose 4 %; with 0.5, 0.41 to 0.43, and 2 %."""
BEGINS = 0.1
"""The share of the updates that come before the first attack: what is still known cannot be relearned."""
RISES = 0.3
"""The share of the updates in which the weight rises to WEIGHT from the first attack on: the first attacks find most
of what is still known, and the step that hides it would harm much else."""


class SimulatedAttacker:
    """Attacks a training again and again, and gives the forget term's gradients at the attacked weights.

    All of it follows from the seed, the number of the update and the way δ, which snapshots hold.
    """

    def __init__(
        self,
        weights: Mapping[str, nn.Parameter],
        forget: WeightedTerm,
        text: TokenizedSet,
        *,
        learning_rate: float,
        records_per_step: int,
        steps: int,
        seed: int,
    ) -> None:
        """`weights` are the trained ones by name, `text` the forget records as they are: an attacker relearns these,
        whatever the forget term trains on in their place."""
        self.way: dict[str, Tensor] = {name: torch.zeros_like(weight) for name, weight in weights.items()}
        self._weights = weights
        self._forget = replace(forget, weight=WEIGHT * forget.weight)
        self._relearned = WeightedTerm("relearned", text, descent, 1.0)
        self.learning_rate, self._seed = learning_rate, seed
        self._records = max(1, round(RECORDS * records_per_step))
        self._first, self._rising = math.floor(BEGINS * steps), math.ceil(RISES * steps)
        self._update = 0
        self._fork: int | None = None
        """The update at which the present attack began."""

    def gradient(
        self, forward: Forward, accumulator: Accumulator, epoch: int, *, factor: float = 1.0
    ) -> tuple[StepValues, int] | None:
        """Makes the attacker's step and sets `.grad` to the forget term's gradient at the attacked weights.

        `factor` multiplies the forget term's weight.

        Returns the step's values and the number of scored tokens that the gradient is of; None, without a gradient,
        before the first attack. Gradients must be empty before it.
        """
        update, self._update = self._update, self._update + 1
        if update < self._first:
            return None
        if self._fork is None or update >= self._fork + self._attack(self._fork)[1]:
            self._fork = update
            for tensor in self.way.values():
                tensor.zero_()
        rate, _, shown, others = self._attack(self._fork)
        draw = np.random.default_rng([self._seed, update, 5])
        with self._at_attacked_weights():
            relearned = accumulator.accumulate(forward, [(self._relearned, _drawn(draw, shown, self._records))], epoch)
            self._step(rate)
            records = _drawn(draw, others, self._records)
            if isinstance(self._forget.term, MovingTargets):
                self._forget.term.update_targets(records)
            risen = min(1.0, (update - self._first + 1) / self._rising)
            forget = replace(self._forget, weight=factor * risen * self._forget.weight)
            attacked = accumulator.accumulate(forward, [(forget, records)], epoch)
        terms = relearned.terms | {"attacked_forget": attacked.terms.get("forget", 0.0)}
        rows = int(torch.isin(self._forget.tokenized.record.cpu(), torch.tensor(records)).sum())
        return StepValues(attacked.loss, terms, relearned.tokens + attacked.tokens), rows

    def state(self) -> dict[str, Any]:
        """The state from which `restore` continues, beside `way`; JSON."""
        return {"update": self._update, "fork": self._fork}

    def restore(self, state: Mapping[str, Any]) -> None:
        self._update, self._fork = state["update"], state["fork"]

    def _attack(self, fork: int) -> tuple[float, int, list[int], list[int]]:
        """(rate, steps, records to relearn, other records) of the attack that began at this update.

        A single record is both relearned and forgotten.
        """
        draw = np.random.default_rng([self._seed, fork, 4])
        low, high = (math.log(factor * self.learning_rate) for factor in RATES)
        rate, steps = math.exp(draw.uniform(low, high)), int(draw.integers(LENGTHS[0], LENGTHS[1] + 1))
        count = len(self._forget.tokenized)
        order = draw.permutation(count).tolist()
        shown = max(1, round(SHOWN * count))
        return rate, steps, order[:shown], order[shown:] or order

    @torch.no_grad()
    def _step(self, rate: float) -> None:
        for weight in self._weights.values():
            if weight.grad is not None:
                weight.sub_(weight.grad.sign(), alpha=rate)
                weight.grad = None

    @contextmanager
    def _at_attacked_weights(self) -> Iterator[None]:
        """Sets the weights to θ + δ; afterwards to θ again, bit for bit, and δ to the way that they went meanwhile."""
        with torch.no_grad():
            for name, weight in self._weights.items():
                before = weight.detach().clone()
                weight.add_(self.way[name])
                self.way[name].copy_(before)  # holds θ meanwhile, so that there is one copy only
        try:
            yield
        finally:
            with torch.no_grad():
                for name, weight in self._weights.items():
                    way = weight - self.way[name]
                    weight.copy_(self.way[name])
                    self.way[name].copy_(way)


def _drawn(draw: np.random.Generator, records: Sequence[int], count: int) -> list[int]:
    """At most `count` of the records, ascending."""
    return sorted(draw.choice(records, min(count, len(records)), replace=False).tolist())
