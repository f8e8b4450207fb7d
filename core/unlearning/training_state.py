"""The state of a training between two updates: everything that the next update and the final counts depend on."""

import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from transformers import PreTrainedModel

from core.lm.sharding import local_part
from core.lm.snapshots import Snapshot
from core.unlearning.optimizer_state import OptimizerState, export_state, restore_state
from core.unlearning.step_plan import StepPlan
from core.unlearning.tuner import Tuner

_WEIGHT, _OPTIMIZER, _RANDOM, _BEST, _ATTACKER = "weight", "optimizer", "random", "best", "attacker"
_RETAIN_GRADIENT = "retain_gradient"


class TrainingState:
    """The trained weights, optimiser, random states, plan and tuner, after `step` updates over `tokens` tokens.

    Of a sharded model it covers this rank's part. Weights that are not trained are the reference model's, and outputs
    of the reference model are computed again: snapshots hold neither.
    """

    def __init__(
        self, model: PreTrainedModel, optimizer: Optimizer, plan: StepPlan, tuner: Tuner | None = None
    ) -> None:
        self._optimizer, self._plan, self._tuner = optimizer, plan, tuner
        self._weights: dict[str, nn.Parameter] = {
            name: weight for name, weight in model.named_parameters() if weight.requires_grad
        }
        self.step = self.tokens = 0

    def advance(self, tokens: int) -> None:
        """Counts one more update, over `tokens` tokens."""
        self.step += 1
        self.tokens += tokens

    def describe(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """The tensors and the JSON values of a snapshot."""
        optimizer_tensors, optimizer_state = export_state(self._optimizer, self._weights)
        tensors = {f"{_WEIGHT}/{name}": local_part(weight.detach()) for name, weight in self._weights.items()}
        tensors |= {f"{_OPTIMIZER}/{name}": tensor for name, tensor in optimizer_tensors.items()}
        if self._plan.attacker:
            tensors |= {f"{_ATTACKER}/{name}": local_part(way) for name, way in self._plan.attacker.way.items()}
        if self._plan.retain_gradient:
            means = self._plan.retain_gradient.mean.items()
            tensors |= {f"{_RETAIN_GRADIENT}/{name}": local_part(mean) for name, mean in means}
        tensors |= {f"{_RANDOM}/{name}": tensor for name, tensor in _torch_random_states().items()}
        values = {"step": self.step, "tokens": self.tokens, "plan": self._plan.state(), "optimizer": optimizer_state}
        if self._tuner is not None:
            best, values["tuner"] = self._tuner.state()
            tensors |= {f"{_BEST}/{name}": tensor for name, tensor in zip(self._weights, best, strict=True)}
        return tensors, values | {"random": _other_random_states()}

    @torch.no_grad()
    def restore(self, snapshot: Snapshot) -> None:
        """Restores a snapshot of the same job: with the same weights, optimiser and sets."""
        state: OptimizerState = snapshot.values["optimizer"]
        restore_state(self._optimizer, self._weights, self._optimizer_tensors(snapshot), state)
        _set_other_random_states(snapshot.values["random"])
        self._plan.restore(snapshot.values["plan"])
        if self._tuner is not None:
            self._tuner.restore(snapshot.values["tuner"])
        self.step, self.tokens = snapshot.values["step"], snapshot.values["tokens"]

    def _optimizer_tensors(self, snapshot: Snapshot) -> Iterator[tuple[str, Tensor]]:
        """Yields the optimiser's tensors and restores all others on the way, so that each tensor is read once."""
        best = {} if self._tuner is None else dict(zip(self._weights, self._tuner.state()[0], strict=True))
        for label, tensor in snapshot.tensors():
            kind, name = label.split("/", 1)
            if kind == _WEIGHT:
                local_part(self._weights[name]).copy_(tensor)
            elif kind == _BEST:
                best[name].copy_(tensor)
            elif kind == _ATTACKER and self._plan.attacker:
                self._plan.attacker.way[name].copy_(tensor)
            elif kind == _RETAIN_GRADIENT and self._plan.retain_gradient:
                self._plan.retain_gradient.mean[name].copy_(tensor)
            elif kind == _OPTIMIZER:
                yield name, tensor
            elif name == "cpu":
                torch.set_rng_state(tensor)
            else:
                torch.cuda.set_rng_state(tensor, int(name))


def _torch_random_states() -> dict[str, Tensor]:
    """The states of torch's default generators, by device: `cpu`, or the GPU's number."""
    devices = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    return {"cpu": torch.get_rng_state()} | {str(number): state for number, state in enumerate(devices)}


def _other_random_states() -> dict[str, Any]:
    """The states of Python's and numpy's default generators; JSON."""
    algorithm, keys, *rest = np.random.get_state(legacy=True)
    return {"python": random.getstate(), "numpy": [algorithm, np.asarray(keys).tolist(), *rest]}


def _set_other_random_states(states: dict[str, Any]) -> None:
    version, keys, gauss = states["python"]
    random.setstate((version, tuple(keys), gauss))
    np.random.set_state(tuple(states["numpy"]))
