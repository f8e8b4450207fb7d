"""Low-rank adapters (arXiv 2106.09685, by peft): put into a model in place, merged into it, written and read alone.

The model keeps its class and its backbone; only the chosen linear layers are wrapped. peft is imported
where it is used.
"""

import copy
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from core.lm.errors import CoreError
from core.schema.names import is_module, near
from core.schema.training import Lora

NAME = "default"
"""What peft calls the one adapter of a model."""

WEIGHTS = "adapter_model.safetensors"
_PREFIX = "base_model.model."


def attach(model: PreTrainedModel, lora: Lora) -> None:
    """Freezes the model and puts a trainable adapter, at first without effect, beside each linear layer that is chosen.

    An adapter is float32 (float64 for a float64 model) whatever the weights are held in. Its first half is drawn from
    torch's own generator. Raises CoreError `no_such_modules` and `unsupported_modules`.
    """
    from peft import LoraConfig, inject_adapter_in_model

    chosen = modules(model, lora.modules)
    config = LoraConfig(
        r=lora.rank,
        lora_alpha=cast(int, lora.alpha),
        target_modules=sorted(chosen),
        task_type="CAUSAL_LM",
        fan_in_fan_out=any(isinstance(module, Conv1D) for module in chosen.values()),
    )
    inject_adapter_in_model(config, model, NAME)
    _widen(model)
    model.eval()  # what peft has put in comes in training mode


def attached(model: PreTrainedModel) -> bool:
    """Whether the model has an adapter."""
    return hasattr(model, "peft_config")


def modules(model: PreTrainedModel, wanted: str | Sequence[str]) -> dict[str, nn.Module]:
    """The linear layers, by name, that `all-linear` or patterns stand for; never the head, whose product the losses
    compute themselves. A pattern is a whole name, the end of one (`q_proj`, `mlp.up_proj`), or has shell wildcards.
    Raises CoreError `no_such_modules` and `unsupported_modules`."""
    everything = dict(model.named_modules())
    head = model.get_output_embeddings()
    linear = {name: one for name, one in everything.items() if isinstance(one, nn.Linear | Conv1D) and one is not head}
    if wanted == "all-linear":
        if not linear:
            raise CoreError("no_such_modules", "the model has no linear layer that could get an adapter")
        return linear
    found: dict[str, nn.Module] = {}
    for pattern in wanted:
        if some := _matching(linear, pattern):
            found |= some
        elif _matching(everything, pattern):
            message = (
                f"what training.lora.modules names '{pattern}' is no linear layer below the head: adapters go there"
            )
            raise CoreError("unsupported_modules", message)
        else:
            ends = {name.rpartition(".")[2] for name in linear}
            message = f"training.lora.modules: the model has no module '{pattern}'{near(pattern, [*ends, *linear])}"
            raise CoreError("no_such_modules", message)
    return found


def _matching(named: Mapping[str, nn.Module], pattern: str) -> dict[str, nn.Module]:
    return {name: module for name, module in named.items() if is_module(name, pattern)}


def merged_weights(model: PreTrainedModel) -> Iterator[tuple[Tensor, Tensor]]:
    """Each weight that has an adapter, as it is without and as it would be with it merged. One at a time is made."""
    for _, layer in _layers(model):
        weight = layer.get_base_layer().weight.detach()
        yield weight, weight + layer.get_delta_weight(NAME).detach()


@torch.no_grad()
def scale(model: PreTrainedModel, factor: float) -> None:
    """Multiplies what the adapter adds to each weight."""
    for _, layer in _layers(model):
        layer.lora_B[NAME].weight.mul_(factor)


def merge(model: PreTrainedModel) -> None:
    """Adds the adapter to the weights, in place; the model is then one without."""
    for name, layer in list(_layers(model)):
        layer.merge()
        model.set_submodule(name, layer.get_base_layer())
    del model.peft_config


def _layers(model: PreTrainedModel) -> Iterator[tuple[str, Any]]:
    from peft.tuners.lora import LoraLayer

    return ((name, module) for name, module in model.named_modules() if isinstance(module, LoraLayer))


def write(model: PreTrainedModel, directory: Path, *, base: str) -> None:
    """The adapter alone, as `peft.PeftModel.from_pretrained` reads it; `base` names the model that it belongs to."""
    from peft import get_peft_model_state_dict

    directory.mkdir(parents=True, exist_ok=True)
    state = get_peft_model_state_dict(model, adapter_name=NAME, save_embedding_layers=False)
    weights = {_PREFIX + name: weight.detach().cpu().contiguous() for name, weight in state.items()}
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
