"""Low-rank adapters (arXiv 2106.09685, by peft): put into a model in place, merged into it, written and read alone.

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
"""What peft calls the one adapter of a model."""

WEIGHTS = "adapter_model.safetensors"
_PREFIX = "base_model.model."


def attach(model: PreTrainedModel, lora: Lora) -> dict[str, str]:
    """Freezes the model and puts a trainable adapter, at first without effect, beside each weight that is chosen.

    A forward pass of a few tokens tells whether each adapter is in the computation. Returns why a module that
    `all-linear` stands for has none, by its name. An adapter is float32 (float64 for a float64 model) whatever the
    weights are held in. Its first half is drawn from torch's own generator. Raises CoreError `no_such_modules` and
    `unsupported_modules`, and leaves the model as it was then.
    """
    chosen = adapter_targets.find_targets(model, lora.modules)
    chosen = _try(model, lora, chosen)
    _inject(model, lora, chosen)
    return chosen.left_out


def check(model: PreTrainedModel, lora: Lora, *, delivered: bool = False) -> dict[str, str]:
    """What `attach` returns and raises, without changing the model; `delivered`: the adapter is to be read by peft.

    Raises CoreError `unreadable_adapter` too, where peft would look for the adapter's weights by other names.
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


def _try(model: PreTrainedModel, lora: Lora, chosen: Targets) -> Targets:
    """Leaves out what gets an adapter without effect, or refuses it where it was asked for by name."""
    while True:
        _inject(model, lora, chosen)
        try:
            unused = adapter_effect.unused_adapters(model, dict(_layers_by_target(model)), _half)
        except (RuntimeError, TypeError, ValueError, AttributeError, IndexError, KeyError) as error:
            if out_of_memory(error):
                raise
            if lora.modules != "all-linear" or not chosen.weights or not chosen.modules:
                message = f"the model does not run with adapters beside {_listed(chosen.names())}: name other modules"
                raise CoreError("unsupported_modules", message) from error
            unused = dict.fromkeys(chosen.weights, "the model does not run with an adapter there")
        finally:
            detach(model)
        if not unused:
            return chosen
        if lora.modules != "all-linear":
            name, reason = next(iter(unused.items()))
            raise CoreError("unsupported_modules", f"an adapter beside '{name}' would do nothing: {reason}")
        chosen = chosen.without(unused)
        if not chosen.names():
            raise CoreError("no_such_modules", "the model has no layer that an adapter would have an effect beside")


def _inject(model: PreTrainedModel, lora: Lora, chosen: Targets) -> None:
    from peft import LoraConfig, inject_adapter_in_model

    by_weight = {f"{name}.weight" for name in chosen.modules if _is_renamed(model, name)}
    config = LoraConfig(
        r=lora.rank,
        lora_alpha=cast(int, lora.alpha),
        target_modules=sorted(name for name in chosen.modules if f"{name}.weight" not in by_weight),
        target_parameters=sorted({*chosen.weights, *by_weight}) or None,
        task_type="CAUSAL_LM",
        fan_in_fan_out=any(isinstance(module, Conv1D) for module in chosen.modules.values()),
    )
    try:
        inject_adapter_in_model(config, model, NAME)
    except (ValueError, TypeError, RuntimeError, AttributeError) as error:
        detach(model)
        message = f"peft puts no adapter beside {_listed(chosen.names())} in this architecture: name other modules"
        raise CoreError("unsupported_modules", message) from error
    _share(model)
    _widen(model)
    model.eval()  # what peft has put in comes in training mode


def _is_renamed(model: PreTrainedModel, name: str) -> bool:
    """Whether peft takes the name of a linear layer for that of an expert in files of earlier transformers, and would
    look for it elsewhere (a shared expert's `up_proj`): its weight then gets the adapter, with the same effect."""
    from peft import LoraConfig
    from peft.utils.transformers_weight_conversion import convert_peft_config_for_transformers

    end = name.rpartition(".")[2]
    config = LoraConfig(target_modules=[end])
    try:
        convert_peft_config_for_transformers(config, model, None)
    except ValueError:  # it knows the name as a part of what is fused
        return True
    return set(config.target_modules or ()) != {end} or bool(config.target_parameters)


def _listed(names: list[str]) -> str:
    kinds = adapter_targets.name_patterns(names)
    return ", ".join(kinds[:5]) + (f" and {len(kinds) - 5} more" if len(kinds) > 5 else "")


def merged_weights(model: PreTrainedModel) -> Iterator[tuple[Tensor, Tensor]]:
    """Each weight that has an adapter, as it is without and as it would be with it merged. One at a time is made."""
    for layer in _distinct(model):
        weight = adapter_effect.weight_of(layer).detach()
        yield weight, weight + layer.get_delta_weight(NAME).detach()


@torch.no_grad()
def scale(model: PreTrainedModel, factor: float) -> None:
    """Multiplies what the adapter adds to each weight."""
    for layer in _distinct(model):
        layer.lora_B[NAME].weight.mul_(factor)


@torch.no_grad()
def merge(model: PreTrainedModel) -> None:
    """Adds the adapter to the weights, in place; the model is then one without.

    A few tokens' logits tell whether it is the same model, but where it was spread over ranks and no longer runs.
    Raises CoreError `merge_differs` where it is another.
    """
    model.eval()  # layers that recompute their activations are not
    runs = not any(isinstance(module, FSDPModule) for module in model.modules())
    ids = adapter_effect.trial_tokens(model)
    wanted = adapter_effect.logits(model, ids) if runs else None
    for layer in _distinct(model):
        layer.merge()
    detach(model)
    if wanted is not None and not adapter_effect.nearly_equal(adapter_effect.logits(model, ids), wanted, model.dtype):
        message = (
            "the model with the adapter merged into its weights predicts something else than with it beside them:"
            " nothing is delivered; ask for output 'adapter'"
        )
        raise CoreError("merge_differs", message, blame="service")


def detach(model: PreTrainedModel) -> None:
    """Takes the adapter out; the weights stay as they are."""
    for name, layer in _layers(model):
        if not name.endswith(".base_layer"):  # those lie within another layer's
            model.set_submodule(name, layer.get_base_layer())
    if has_adapter(model):
        del model.peft_config


def _layers(model: PreTrainedModel) -> list[tuple[str, Any]]:
    from peft.tuners.lora import LoraLayer

    return [(name, module) for name, module in model.named_modules() if isinstance(module, LoraLayer)]


def _layers_by_target(model: PreTrainedModel) -> Iterator[tuple[str, Any]]:
    """By the names that `Targets` have: of a linear layer its own, of a weight that of the weight."""
    for name, layer in _layers(model):
        whole = name.replace(".base_layer", "")
        part = getattr(layer, "parameter_name", None)
        yield (whole if part is None else f"{whole}.{part}"), layer


def _distinct(model: PreTrainedModel) -> list[Any]:
    """A layer for each weight: of layers that share one the first, whose adapter is that of all."""
    return list({id(adapter_effect.weight_of(layer)): layer for _, layer in reversed(_layers(model))}.values())[::-1]


def _half(layer: Any) -> Tensor:
    """What the adapter ends with: zero at first, and on the way of every gradient."""
    weight: Tensor = layer.lora_B[NAME].weight
    return weight


def _share(model: PreTrainedModel) -> None:
    """Gives layers that share one weight one adapter, so that merging it into the weight says the same."""
    first: dict[int, Any] = {}
    for _, layer in _layers(model):
        owner = first.setdefault(id(adapter_effect.weight_of(layer)), layer)
        layer.lora_A[NAME], layer.lora_B[NAME] = owner.lora_A[NAME], owner.lora_B[NAME]


def write(model: PreTrainedModel, directory: Path, *, base: str) -> None:
    """The adapter alone, as `peft.PeftModel.from_pretrained` reads it; `base` names the model that it belongs to."""
    from peft import get_peft_model_state_dict

    directory.mkdir(parents=True, exist_ok=True)
    state = get_peft_model_state_dict(model, adapter_name=NAME, save_embedding_layers=False)
    # cloned: layers that share one weight share the halves too, and a file holds each tensor by itself
    weights = {_PREFIX + name: weight.detach().cpu().contiguous().clone() for name, weight in state.items()}
    save_file(weights, directory / WEIGHTS, metadata={"format": "pt"})
    config = copy.copy(model.peft_config[NAME])
    config.base_model_name_or_path, config.inference_mode = base, True
    config.save_pretrained(directory)


def read(model: PreTrainedModel, directory: Path) -> None:
    """Puts an adapter that `write` wrote into its base, in place. Raises CoreError `model_unreadable`."""
    from peft import LoraConfig, inject_adapter_in_model, set_peft_model_state_dict

    try:
        config = LoraConfig.from_pretrained(directory, local_files_only=True)
        weights = load_file(directory / WEIGHTS)
        inject_adapter_in_model(config, model, NAME)
        _share(model)
        _widen(model)
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


def _widen(model: PreTrainedModel) -> None:
    for weight in model.parameters():
        if weight.requires_grad and weight.dtype in (torch.bfloat16, torch.float16):
            weight.data = weight.data.float()
