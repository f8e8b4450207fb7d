"""The weights of a model that an adapter goes beside, found by name."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from core.lm.errors import CoreError
from core.schema.adapters import is_refused, is_router
from core.schema.weight_patterns import is_module, suggest_names


@dataclass
class Targets:
    """`modules`: linear layers. `weights`: matrices that other modules hold (fused experts), and the weights of linear
    layers that compute in a way of their own. `left_out`: why a module gets none, by its name."""

    modules: dict[str, nn.Module] = field(default_factory=dict)
    weights: dict[str, Tensor] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)

    def names(self) -> list[str]:
        """Modules and weights, in the order of the model."""
        return [*self.modules, *self.weights]

    def without(self, reasons: Mapping[str, str]) -> "Targets":
        """The others; `reasons` says of each name why it is left out."""
        return Targets(
            {name: module for name, module in self.modules.items() if name not in reasons},
            {name: weight for name, weight in self.weights.items() if name not in reasons},
            self.left_out | dict(reasons),
        )


def find_targets(model: PreTrainedModel, wanted: str | Sequence[str]) -> Targets:
    """What `all-linear` or patterns stand for; never the head, whose product the losses compute themselves.

    `all-linear` is every linear layer and every fused expert but the routers. A pattern is a whole name, the end of one
    (`q_proj`, `mlp.up_proj`, `experts.down_proj`), or has shell wildcards. Raises CoreError `no_such_modules` and
    `unsupported_modules`.
    """
    possible = _possible(model)
    if wanted == "all-linear":
        chosen = {name for name in possible.names() if not is_router(name.removesuffix(".weight"))}
        if not chosen:
            raise CoreError("no_such_modules", "the model has no linear layer that could get an adapter")
    else:
        chosen = set[str]().union(*(_matching(model, possible, pattern) for pattern in wanted))
    modules = {name: module for name, module in possible.modules.items() if name in chosen}
    weights = {name: weight for name, weight in possible.weights.items() if name in chosen}
    left_out = possible.left_out if wanted == "all-linear" else {}
    return _alone(model, Targets(modules, weights, dict(left_out)), explicit=wanted != "all-linear")


def _possible(model: PreTrainedModel) -> Targets:
    """Everything that could get an adapter, by its kind, and the linear layers that peft refuses."""
    head = model.get_output_embeddings()
    architecture = type(model).__name__
    targets = Targets()
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear | Conv1D):
            if module is head:
                continue
            if is_refused(architecture, name):
                targets.left_out[name] = "peft takes no adapter there in this architecture"
            elif _is_plain(module):
                targets.modules[name] = module
            else:
                targets.weights[f"{name}.weight"] = module.weight
        elif _holds_experts(name, module):
            for part, weight in module.named_parameters(recurse=False):
                if weight.ndim == 3:
                    targets.weights[f"{name}.{part}"] = weight
                elif weight.ndim == 2 and "bias" not in part:
                    targets.left_out[f"{name}.{part}"] = "all its experts lie in one matrix"
    return targets


def _is_plain(module: nn.Module) -> bool:
    """Whether the module is its product with the weight, and nothing else: some routers and grouped layers derive from
    a linear layer and return something else."""
    if type(module) in (nn.Linear, Conv1D):
        return True
    weight = module.weight
    if not isinstance(module, nn.Linear) or not isinstance(weight, Tensor):
        return False
    rows = torch.linspace(-1, 1, 2 * weight.shape[1], device=weight.device, dtype=weight.dtype).view(2, -1)
    with torch.no_grad():
        try:
            found = module(rows)
        except (RuntimeError, TypeError, ValueError, IndexError):
            return False
        product = functional.linear(rows, weight, module.bias)
    return isinstance(found, Tensor) and found.shape == product.shape and torch.allclose(found, product, rtol=1e-2)


def _holds_experts(name: str, module: nn.Module) -> bool:
    return ".experts" in f".{name}" or "Experts" in type(module).__name__


def _matching(model: PreTrainedModel, possible: Targets, pattern: str) -> set[str]:
    modules = {name for name in possible.modules if is_module(name, pattern)}
    weights = {
        name for name in possible.weights if is_module(name, pattern) or is_module(name.rpartition(".")[0], pattern)
    }
    if modules or weights:
        return modules | weights
    if refused := sorted(name for name in possible.left_out if is_module(name, pattern)):
        message = f"training.lora.modules names '{pattern}', but {possible.left_out[refused[0]]}: name other modules"
        raise CoreError("unsupported_modules", message)
    if any(is_module(name, pattern) for name, _ in model.named_modules()):
        message = f"what training.lora.modules names '{pattern}' is no linear layer below the head: adapters go there"
        raise CoreError("unsupported_modules", message)
    names = possible.names()
    ends = {name.removesuffix(".weight").rpartition(".")[2] for name in names}
    message = f"training.lora.modules: the model has no module '{pattern}'{suggest_names(pattern, [*ends, *names])}"
    raise CoreError("no_such_modules", message)


def _alone(model: PreTrainedModel, targets: Targets, *, explicit: bool) -> Targets:
    """Leaves out weights that something without the adapter reads too: merged, they would change that as well."""
    readers: defaultdict[int, set[str]] = defaultdict(set)
    for name, weight in model.named_parameters(remove_duplicate=False):
        readers[id(weight)].add(name)
    held = {f"{name}.weight": module.weight for name, module in targets.modules.items()} | targets.weights
    shared = {name: sorted(readers[id(weight)] - held.keys()) for name, weight in held.items()}
    reasons = {
        name if name in targets.weights else name.removesuffix(".weight"): f"its weight is that of {others[0]} too"
        for name, others in shared.items()
        if others
    }
    if reasons and explicit:
        name, reason = next(iter(reasons.items()))
        message = (
            f"training.lora.modules names '{name}', but {reason}, which would get no adapter: name both or neither"
        )
        raise CoreError("unsupported_modules", message)
    return targets.without(reasons)


def shared_weight_names(targets: Targets) -> list[str]:
    """The names, without numbers, of those that have a weight in common with another."""
    names: defaultdict[int, list[str]] = defaultdict(list)
    for name, module in targets.modules.items():
        names[id(module.weight)].append(name)
    for name, weight in targets.weights.items():
        names[id(weight)].append(name)
    return name_patterns(name for holders in names.values() if len(holders) > 1 for name in holders)


def name_patterns(names: Iterable[str]) -> list[str]:
    """The names without the numbers of their layers, each once: `layers.*.mlp.down_proj`."""
    return list(dict.fromkeys(".".join("*" if part.isdigit() else part for part in name.split(".")) for name in names))


def describe_left_out(left_out: Mapping[str, str]) -> str:
    """Says which parts of the model get no adapter, and why."""
    reasons: defaultdict[str, list[str]] = defaultdict(list)
    for name, reason in left_out.items():
        reasons[reason].append(name)
    return "; ".join(f"no adapter for {', '.join(name_patterns(names))}: {reason}" for reason, names in reasons.items())
