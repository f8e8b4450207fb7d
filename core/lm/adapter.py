"""Low-rank adapters (arXiv 2106.09685, by peft): attached to a model in place, merged into it, written and read alone.

The model keeps its class and its backbone; only the chosen layers are wrapped. peft is imported where it is used.
"""

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.distributed.fsdp import FSDPModule
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from core.lm import adapter_effect, adapter_targets
from core.lm.adapter_targets import Targets
from core.lm.errors import CoreError, out_of_memory
from core.schema.training import Lora

NAME = "default"
"""peft's name of a model's only adapter."""

WEIGHTS = "adapter_model.safetensors"
_PREFIX = "base_model.model."


def attach(model: PreTrainedModel, lora: Lora) -> dict[str, str]:
    """Freezes the model and puts a trainable adapter, at first without effect, beside each chosen weight.

    A forward pass of a few tokens tells whether each adapter is part of the computation. Returns the reasons why
    modules of `all-linear` get no adapter, by name. An adapter is float32 (float64 for a float64 model) whatever the
    weights' dtype. Its matrix A is drawn from torch's own generator. Raises CoreError `no_such_modules` and
    `unsupported_modules`, and then leaves the model as it was.
    """
    targets = adapter_targets.find_targets(model, lora.modules)
    targets = _try(model, lora, targets)
    _inject(model, lora, targets)
    return targets.left_out


def check(model: PreTrainedModel, lora: Lora, *, delivered: bool = False) -> dict[str, str]:
    """Returns and raises what `attach` would, without changing the model.

    `delivered`: peft must be able to read the adapter. Raises CoreError `unreadable_adapter` too, where peft would look
    for its weights by other names.
    """
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    try:
        left_out = attach(model, lora)
        if delivered and not _is_readable(model):
            message = (
                "peft gives the weights of this architecture's adapters other names as it reads them, and would not"
                " find them: ask for output 'merged', or name the modules in training.lora.modules"
            )
            raise CoreError("unreadable_adapter", message)
    finally:
        detach(model)
        for weight in trained:
            weight.requires_grad_(True)
    return left_out


def _is_readable(model: PreTrainedModel) -> bool:
    from peft import get_peft_model_state_dict, set_peft_model_state_dict

    state = get_peft_model_state_dict(model, adapter_name=NAME, save_embedding_layers=False)
    state = {_PREFIX + name: weight.clone() for name, weight in state.items()}
    try:
        return not set_peft_model_state_dict(model, state, NAME).unexpected_keys
    except (RuntimeError, ValueError, KeyError, IndexError):
        return False


def has_adapter(model: PreTrainedModel) -> bool:
    """Whether the model has an adapter."""
    return hasattr(model, "peft_config")


def _try(model: PreTrainedModel, lora: Lora, targets: Targets) -> Targets:
    """Leaves out the targets whose adapter has no effect, or refuses them where they were asked for by name."""
    while True:
        _inject(model, lora, targets)
        try:
            unused = adapter_effect.unused_adapters(model, dict(_layers_by_target(model)), _output_matrix)
        except (RuntimeError, TypeError, ValueError, AttributeError, IndexError, KeyError) as error:
            if out_of_memory(error):
                raise
            if lora.modules != "all-linear" or not targets.weights or not targets.modules:
                message = f"the model does not run with adapters beside {_listed(targets.names())}: name other modules"
                raise CoreError("unsupported_modules", message) from error
            unused = dict.fromkeys(targets.weights, "the model does not run with an adapter there")
        finally:
            detach(model)
        if not unused:
            return targets
        if lora.modules != "all-linear":
            name, reason = next(iter(unused.items()))
            raise CoreError("unsupported_modules", f"an adapter beside '{name}' would do nothing: {reason}")
        targets = targets.without(unused)
        if not targets.names():
            raise CoreError("no_such_modules", "the model has no layer that an adapter would have an effect beside")


def _inject(model: PreTrainedModel, lora: Lora, targets: Targets) -> None:
    from peft import LoraConfig, inject_adapter_in_model

    by_weight = {f"{name}.weight" for name in targets.modules if _is_renamed(model, name)}
    config = LoraConfig(
        r=lora.rank,
        lora_alpha=cast(int, lora.alpha),
        target_modules=sorted(name for name in targets.modules if f"{name}.weight" not in by_weight),
        target_parameters=sorted({*targets.weights, *by_weight}) or None,
        task_type="CAUSAL_LM",
        fan_in_fan_out=any(isinstance(module, Conv1D) for module in targets.modules.values()),
    )
    try:
        inject_adapter_in_model(config, model, NAME)
    except (ValueError, TypeError, RuntimeError, AttributeError) as error:
        detach(model)
        message = f"peft puts no adapter beside {_listed(targets.names())} in this architecture: name other modules"
        raise CoreError("unsupported_modules", message) from error
    _share(model)
    _trained_in_float32(model)
    model.eval()  # peft injects its modules in training mode


def _is_renamed(model: PreTrainedModel, name: str) -> bool:
    """Whether peft takes a linear layer's name for that of an expert in files of earlier transformers.

    peft would then look for the layer elsewhere (a shared expert's `up_proj`). Its weight gets the adapter instead,
    with the same effect.
    """
    from peft import LoraConfig
    from peft.utils.transformers_weight_conversion import convert_peft_config_for_transformers

    end = name.rpartition(".")[2]
    config = LoraConfig(target_modules=[end])
    try:
        convert_peft_config_for_transformers(config, model, None)
    except ValueError:  # peft knows the name as a part of a fused weight
        return True
    return set(config.target_modules or ()) != {end} or bool(config.target_parameters)


def _listed(names: list[str]) -> str:
    kinds = adapter_targets.name_patterns(names)
    return ", ".join(kinds[:5]) + (f" and {len(kinds) - 5} more" if len(kinds) > 5 else "")


def merged_weights(model: PreTrainedModel) -> Iterator[tuple[Tensor, Tensor]]:
    """Yields each weight that has an adapter, without it and with it merged. One merged weight exists at a time."""
    for layer in _distinct(model):
        weight = adapter_effect.weight_of(layer).detach()
        yield weight, weight + layer.get_delta_weight(NAME).detach()


@torch.no_grad()
def scale(model: PreTrainedModel, factor: float) -> None:
    """Multiplies the adapter's change of each weight by `factor`."""
    for layer in _distinct(model):
        layer.lora_B[NAME].weight.mul_(factor)


@torch.no_grad()
def merge(model: PreTrainedModel) -> None:
    """Adds the adapter to the weights, in place, and detaches it.

    The logits of a few tokens are compared before and after, unless the model was sharded over ranks and no longer
    runs. Raises CoreError `merge_differs` where they differ.
    """
    model.eval()  # layers that recompute their activations are in training mode
    runs = not any(isinstance(module, FSDPModule) for module in model.modules())
    ids = adapter_effect.trial_tokens(model)
    before = adapter_effect.logits(model, ids) if runs else None
    for layer in _distinct(model):
        layer.merge()
    detach(model)
    if before is not None and not adapter_effect.nearly_equal(adapter_effect.logits(model, ids), before, model.dtype):
        message = (
            "the model with the adapter merged into its weights predicts something else than with it beside them:"
            " nothing is delivered; ask for output 'adapter'"
        )
        raise CoreError("merge_differs", message, blame="service")


def detach(model: PreTrainedModel) -> None:
    """Takes the adapter out; the weights stay as they are."""
    for name, layer in _layers(model):
        if not name.endswith(".base_layer"):  # these lie within another layer's wrapper
            model.set_submodule(name, layer.get_base_layer())
    if has_adapter(model):
        del model.peft_config


def _layers(model: PreTrainedModel) -> list[tuple[str, Any]]:
    from peft.tuners.lora import LoraLayer

    return [(name, module) for name, module in model.named_modules() if isinstance(module, LoraLayer)]


def _layers_by_target(model: PreTrainedModel) -> Iterator[tuple[str, Any]]:
    """Yields the adapted layers with their names in `Targets`: a linear layer's own, or that of a weight."""
    for name, layer in _layers(model):
        module = name.replace(".base_layer", "")
        parameter = getattr(layer, "parameter_name", None)
        yield (module if parameter is None else f"{module}.{parameter}"), layer


def _distinct(model: PreTrainedModel) -> list[Any]:
    """Returns one adapted layer for each weight: the first of the layers that share it and its adapter."""
    return list({id(adapter_effect.weight_of(layer)): layer for _, layer in reversed(_layers(model))}.values())[::-1]


def _output_matrix(layer: Any) -> Tensor:
    """Returns the adapter's matrix B: zero at first, and reached by every gradient of the adapter."""
    weight: Tensor = layer.lora_B[NAME].weight
    return weight


def _share(model: PreTrainedModel) -> None:
    """Gives layers that share one weight one adapter, so that merging it into the weight is equivalent."""
    owners: dict[int, Any] = {}
    for _, layer in _layers(model):
        owner = owners.setdefault(id(adapter_effect.weight_of(layer)), layer)
        layer.lora_A[NAME], layer.lora_B[NAME] = owner.lora_A[NAME], owner.lora_B[NAME]


def write(model: PreTrainedModel, directory: Path, *, base: str) -> None:
    """Writes the adapter alone, as `peft.PeftModel.from_pretrained` reads it; `base` names its base model."""
    from peft import get_peft_model_state_dict

    directory.mkdir(parents=True, exist_ok=True)
    state = get_peft_model_state_dict(model, adapter_name=NAME, save_embedding_layers=False)
    # cloned: layers that share a weight share their adapter's matrices too, and a file holds no shared tensors
    weights = {_PREFIX + name: weight.detach().cpu().contiguous().clone() for name, weight in state.items()}
    save_file(weights, directory / WEIGHTS, metadata={"format": "pt"})
    config = copy.copy(model.peft_config[NAME])
    config.base_model_name_or_path, config.inference_mode = base, True
    config.save_pretrained(directory)


def read(model: PreTrainedModel, directory: Path) -> None:
    """Attaches an adapter that `write` wrote to its base, in place. Raises CoreError `model_unreadable`."""
    from peft import LoraConfig, inject_adapter_in_model, set_peft_model_state_dict

    try:
        config = LoraConfig.from_pretrained(directory, local_files_only=True)
        weights = load_file(directory / WEIGHTS)
        inject_adapter_in_model(config, model, NAME)
        _share(model)
        _trained_in_float32(model)
        state = {name.removeprefix(_PREFIX): weight for name, weight in weights.items()}
        unknown = set_peft_model_state_dict(model, state, NAME).unexpected_keys
    except MemoryError:
        raise
    except Exception as error:  # a malformed file may make any library below raise anything
        message = f"the adapter could not be loaded ({type(error).__name__})"
        raise CoreError("model_unreadable", message) from error
    if unknown:
        raise CoreError("model_unreadable", f"the adapter has {len(unknown)} weights that fit nowhere in its base")
    model.requires_grad_(False).eval()


def _trained_in_float32(model: PreTrainedModel) -> None:
    """Converts trained weights of half precision to float32."""
    for weight in model.parameters():
        if weight.requires_grad and weight.dtype in (torch.bfloat16, torch.float16):
            weight.data = weight.data.float()
