"""The weights of a model that get an adapter, found by name."""

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
from core.schema.weight_patterns import matches_module, suggest_names


@dataclass
class Targets:
    """The targets of an adapter, and the modules that get none."""

    modules: dict[str, nn.Module] = field(default_factory=dict)
    """Linear layers by name."""
    weights: dict[str, Tensor] = field(default_factory=dict)
    """Matrices of other modules (fused experts) by name, and weights of linear layers that compute more than their
    product."""
    left_out: dict[str, str] = field(default_factory=dict)
    """The reason why a module gets no adapter, by its name."""

    def names(self) -> list[str]:
        """Returns the names of the modules, then those of the weights, each in the order of the model."""
        return [*self.modules, *self.weights]

    def without(self, reasons: Mapping[str, str]) -> "Targets":
        """Returns the targets without the names in `reasons`, which holds the reason for each."""
        return Targets(
            {name: module for name, module in self.modules.items() if name not in reasons},
            {name: weight for name, weight in self.weights.items() if name not in reasons},
            self.left_out | dict(reasons),
        )


def find_targets(model: PreTrainedModel, selection: str | Sequence[str]) -> Targets:
    """Returns the targets that `all-linear` or patterns stand for.

    The head is never among them: the losses compute its product themselves. `all-linear` is every linear layer and
    every fused expert but the routers. A pattern is a whole name, the end of a name (`q_proj`, `mlp.up_proj`,
    `experts.down_proj`), or has shell wildcards. Raises CoreError `no_such_modules` and `unsupported_modules`.
    """
    possible = _possible_targets(model)
    if selection == "all-linear":
        chosen = {name for name in possible.names() if not is_router(name.removesuffix(".weight"))}
        if not chosen:
            raise CoreError("no_such_modules", "the model has no linear layer that could get an adapter")
    else:
        chosen = set[str]().union(*(_matching(model, possible, pattern) for pattern in selection))
    modules = {name: module for name, module in possible.modules.items() if name in chosen}
    weights = {name: weight for name, weight in possible.weights.items() if name in chosen}
    left_out = possible.left_out if selection == "all-linear" else {}
    return _without_shared(model, Targets(modules, weights, dict(left_out)), explicit=selection != "all-linear")


def _possible_targets(model: PreTrainedModel) -> Targets:
    """Returns all modules and weights that could get an adapter, and the linear layers that peft refuses."""
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
    """Whether the module computes its product with the weight, and nothing else.

    Some routers and grouped layers derive from a linear layer and return something else.
    """
    if type(module) in (nn.Linear, Conv1D):
        return True
    weight = module.weight
    if not isinstance(module, nn.Linear) or not isinstance(weight, Tensor):
        return False
    rows = torch.linspace(-1, 1, 2 * weight.shape[1], device=weight.device, dtype=weight.dtype).view(2, -1)
    with torch.no_grad():
        try:
            output = module(rows)
        except (RuntimeError, TypeError, ValueError, IndexError):
            return False
        product = functional.linear(rows, weight, module.bias)
    return isinstance(output, Tensor) and output.shape == product.shape and torch.allclose(output, product, rtol=1e-2)


def _holds_experts(name: str, module: nn.Module) -> bool:
    return ".experts" in f".{name}" or "Experts" in type(module).__name__


def _matching(model: PreTrainedModel, possible: Targets, pattern: str) -> set[str]:
    modules = {name for name in possible.modules if matches_module(name, pattern)}
    weights = {
        name
        for name in possible.weights
        if matches_module(name, pattern) or matches_module(name.rpartition(".")[0], pattern)
    }
    if modules or weights:
        return modules | weights
    if refused := sorted(name for name in possible.left_out if matches_module(name, pattern)):
        message = f"training.lora.modules names '{pattern}', but {possible.left_out[refused[0]]}: name other modules"
        raise CoreError("unsupported_modules", message)
    if any(matches_module(name, pattern) for name, _ in model.named_modules()):
        message = (
            f"training.lora.modules names '{pattern}', which is no linear layer below the head: only those get adapters"
        )
        raise CoreError("unsupported_modules", message)
    names = possible.names()
    ends = {name.removesuffix(".weight").rpartition(".")[2] for name in names}
    message = f"training.lora.modules: the model has no module '{pattern}'{suggest_names(pattern, [*ends, *names])}"
    raise CoreError("no_such_modules", message)


def _without_shared(model: PreTrainedModel, targets: Targets, *, explicit: bool) -> Targets:
    """Leaves out weights that a module without the adapter uses too: merging would change that module as well."""
    names: defaultdict[int, set[str]] = defaultdict(set)
    for name, weight in model.named_parameters(remove_duplicate=False):
        names[id(weight)].add(name)
    adapted = {f"{name}.weight": module.weight for name, module in targets.modules.items()} | targets.weights
    sharers = {name: sorted(names[id(weight)] - adapted.keys()) for name, weight in adapted.items()}
    reasons = {
        name if name in targets.weights else name.removesuffix(".weight"): f"its weight is that of {unadapted[0]} too"
        for name, unadapted in sharers.items()
        if unadapted
    }
    if reasons and explicit:
        name, reason = next(iter(reasons.items()))
        message = (
            f"training.lora.modules names '{name}', but {reason}, which would get no adapter: name both or neither"
        )
        raise CoreError("unsupported_modules", message)
    return targets.without(reasons)


def shared_weight_names(targets: Targets) -> list[str]:
    """Returns the names, without numbers, of the targets that share their weight with another target."""
    names: defaultdict[int, list[str]] = defaultdict(list)
    for name, module in targets.modules.items():
        names[id(module.weight)].append(name)
    for name, weight in targets.weights.items():
        names[id(weight)].append(name)
    return name_patterns(name for holders in names.values() if len(holders) > 1 for name in holders)


def name_patterns(names: Iterable[str]) -> list[str]:
    """Returns the names without the numbers of their layers, each once: `layers.*.mlp.down_proj`."""
    return list(dict.fromkeys(".".join("*" if part.isdigit() else part for part in name.split(".")) for name in names))


def describe_left_out(left_out: Mapping[str, str]) -> str:
    """Describes which parts of the model get no adapter, and why."""
    reasons: defaultdict[str, list[str]] = defaultdict(list)
    for name, reason in left_out.items():
        reasons[reason].append(name)
    return "; ".join(f"no adapter for {', '.join(name_patterns(names))}: {reason}" for reason, names in reasons.items())
