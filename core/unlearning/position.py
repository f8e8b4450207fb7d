"""Where a training stands: everything that its next step depends on, and that its result counts."""

import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel

from core.lm.snapshots import Snapshot
from core.unlearning.plan import Plan

_WEIGHT, _OPTIMIZER, _RANDOM = "weight/", "optimizer/", "random/"


class Position:
    """`step` updates are made, for which `tokens` went through the model.

    Of the model it holds the weights that are trained; the others are the original's. What the plan has computed from
    the original is computed again, not kept.
    """

    def __init__(self, model: PreTrainedModel, optimizer: torch.optim.Optimizer, plan: Plan) -> None:
        self._model, self._optimizer, self._plan = model, optimizer, plan
        self.step = self.tokens = 0

    def advance(self, tokens: int) -> None:
        """One more update is made."""
        self.step += 1
        self.tokens += tokens

    def tensors(self) -> dict[str, Tensor]:
        found: dict[str, Tensor] = {}
        for name, weight in self._trained():
            found[_WEIGHT + name] = weight.detach()
            for key, value in self._optimizer.state.get(weight, {}).items():
                if isinstance(value, Tensor):
                    found[f"{_OPTIMIZER}{key}/{name}"] = value.detach()
        found[_RANDOM + "cpu"] = torch.get_rng_state()
        if torch.cuda.is_available():
            found |= {f"{_RANDOM}{number}": state for number, state in enumerate(torch.cuda.get_rng_state_all())}
        return found

    def values(self) -> dict[str, Any]:
        algorithm, keys, place, has_gauss, gauss = np.random.get_state(legacy=True)
        return {
            "step": self.step,
            "tokens": self.tokens,
            "plan": self._plan.state(),
            "python": random.getstate(),
            "numpy": [algorithm, np.asarray(keys).tolist(), place, has_gauss, gauss],
            "on_host": [
                f"{key}/{name}"
                for name, weight in self._trained()
                for key, value in self._optimizer.state.get(weight, {}).items()
                if isinstance(value, Tensor) and value.device != weight.device
            ],
        }

    @torch.no_grad()
    def restore(self, snapshot: Snapshot) -> None:
        """Goes to where the snapshot was taken. Of the same job: the same weights, optimizer and sets."""
        weights = dict(self._trained())
        values = snapshot.values
        on_host = set(values["on_host"])
        for label, tensor in snapshot.tensors():
            kind, name = label.split("/", 1)
            if kind + "/" == _WEIGHT:
                weights[name].copy_(tensor)
            elif kind + "/" == _OPTIMIZER:
                # not by load_state_dict, which would cast a state to the dtype of its weight
                key, of = name.split("/", 1)
                weight = weights[of]
                self._optimizer.state[weight][key] = tensor if name in on_host else tensor.to(weight.device)
            elif name == "cpu":
                torch.set_rng_state(tensor)
            else:
                torch.cuda.set_rng_state(tensor, int(name))
        version, keys, gauss = values["python"]
        random.setstate((version, tuple(keys), gauss))
        np.random.set_state(tuple(values["numpy"]))
        self._plan.restore(values["plan"])
        self.step, self.tokens = values["step"], values["tokens"]

    def _trained(self) -> Iterator[tuple[str, torch.nn.Parameter]]:
        return ((name, weight) for name, weight in self._model.named_parameters() if weight.requires_grad)
