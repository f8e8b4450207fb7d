"""Where a training stands: everything that its next step depends on, and that its result counts."""

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
from core.unlearning.optimizer_state import OptimizerState, export_state, import_state
from core.unlearning.step_plan import StepPlan

_WEIGHT, _OPTIMIZER, _RANDOM = "weight", "optimizer", "random"


class TrainingState:
    """`step` updates are made, for which `tokens` went through the model.

    Of the model it holds the weights that are trained, of a sharded one this rank's part; the others are the
    original's. What the plan has computed from the original is computed again, not kept.
    """

    def __init__(self, model: PreTrainedModel, optimizer: Optimizer, plan: StepPlan) -> None:
        self._optimizer, self._plan = optimizer, plan
        self._weights: dict[str, nn.Parameter] = {
            name: weight for name, weight in model.named_parameters() if weight.requires_grad
        }
        self.step = self.tokens = 0

    def advance(self, tokens: int) -> None:
        """One more update is made."""
        self.step += 1
        self.tokens += tokens

    def describe(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Tensors and values, as a snapshot takes them."""
        moments, state = export_state(self._optimizer, self._weights)
        tensors = {f"{_WEIGHT}/{name}": local_part(weight.detach()) for name, weight in self._weights.items()}
        tensors |= {f"{_OPTIMIZER}/{name}": tensor for name, tensor in moments.items()}
        tensors |= {f"{_RANDOM}/{name}": tensor for name, tensor in _generators().items()}
        values = {"step": self.step, "tokens": self.tokens, "plan": self._plan.state(), "optimizer": state}
        return tensors, values | {"random": _numbers()}

    @torch.no_grad()
    def restore(self, snapshot: Snapshot) -> None:
        """Goes to where the snapshot was taken. Of the same job: the same weights, optimizer and sets."""
        state: OptimizerState = snapshot.values["optimizer"]
        import_state(self._optimizer, self._weights, self._moments(snapshot), state)
        _set_numbers(snapshot.values["random"])
        self._plan.restore(snapshot.values["plan"])
        self.step, self.tokens = snapshot.values["step"], snapshot.values["tokens"]

    def _moments(self, snapshot: Snapshot) -> Iterator[tuple[str, Tensor]]:
        """The optimizer's tensors; on the way all others are put where they belong, so that each is read once."""
        for label, tensor in snapshot.tensors():
            kind, name = label.split("/", 1)
            if kind == _WEIGHT:
                local_part(self._weights[name]).copy_(tensor)
            elif kind == _OPTIMIZER:
                yield name, tensor
            elif name == "cpu":
                torch.set_rng_state(tensor)
            else:
                torch.cuda.set_rng_state(tensor, int(name))


def _generators() -> dict[str, Tensor]:
    """The states of torch's own generators, by device."""
    devices = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    return {"cpu": torch.get_rng_state()} | {str(number): state for number, state in enumerate(devices)}


def _numbers() -> dict[str, Any]:
    """The states of Python's and numpy's generators; JSON."""
    algorithm, keys, *rest = np.random.get_state(legacy=True)
    return {"python": random.getstate(), "numpy": [algorithm, np.asarray(keys).tolist(), *rest]}


def _set_numbers(states: dict[str, Any]) -> None:
    version, keys, gauss = states["python"]
    random.setstate((version, tuple(keys), gauss))
    np.random.set_state(tuple(states["numpy"]))
