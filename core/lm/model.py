"""Loading a model from a directory, safely: local files, safetensors, no code from the directory, no random weights."""

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from core.lm.errors import CoreError
from core.lm.tensor_files import KINDS, open_files, prevailing_kind
from core.lm.tokenizer import read_tokenizer
from core.lm.weight_names import loading_error, refuse_misfit
from core.schema.architecture import usable_context
from core.schema.manifest import digest, manifest
from core.schema.model_files import UnusableModel, read_json
from core.schema.model_shape import SIZES
from core.schema.training import MasterWeights
from core.schema.weight_files import read_tensors

_STORED = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def device(rank: int = 0) -> torch.device:
    """Returns the visible CUDA device of that number, else the CPU."""
    return torch.device("cuda", rank) if torch.cuda.is_available() else torch.device("cpu")


def load(
    directory: Path, dtype: str = "auto", *, device: torch.device, weights: MasterWeights = "float32"
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Loads the model in eval mode, and its tokenizer. The files are mapped and go straight to the device.

    `weights` is the dtype in memory. It is float32 whatever the files hold, since an update under a thousandth of a
    bfloat16 weight would be rounded away; or bfloat16, where the files hold nothing finer and updates are rounded
    stochastically. `dtype` (`auto`: that of most of the files' weights) is the dtype of checkpoints, see
    `stored_dtype`.
    Every weight comes from the files. A tokenizer that names no end of sequence gets the first of the generation
    config's, else of the config's.
    Raises CoreError `model_unreadable`, `quantised_model`, `unsupported_dtype`, `vocabulary_mismatch`,
    `master_weights_too_coarse`, `weights_missing`, `weights_left_over` and `weights_of_another_shape`.
    """
    try:
        config = read_config(directory)
        _refuse_untrainable(directory)
        stored = _STORED.get(dtype) or _prevailing_dtype(directory)
        _refuse_unusable(config, stored, weights)
        model: PreTrainedModel
        model, report = AutoModelForCausalLM.from_pretrained(
            directory,
            config=config,
            dtype=_STORED[weights],
            device_map={"": device},
            local_files_only=True,
            use_safetensors=True,
            trust_remote_code=False,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # the report names them, and the model is refused
        )
        refuse_misfit(directory, report)
        tokenizer = _tokenizer(directory, config)
    except (MemoryError, CoreError):
        raise
    except Exception as error:  # a malformed file may make any library below raise anything
        raise loading_error(directory, error) from error
    model.config.dtype = stored
    _refuse_unknown_tokens(model, tokenizer)
    return model.eval(), tokenizer


def read_config(directory: Path) -> PreTrainedConfig:
    """Reads the config of a directory, without any code of the directory. A malformed file may raise anything."""
    return AutoConfig.from_pretrained(directory, local_files_only=True, trust_remote_code=False)


def load_tokenizer(directory: Path) -> PreTrainedTokenizerBase:
    """Loads the tokenizer alone. Raises CoreError `model_unreadable`."""
    try:
        return _tokenizer(directory, read_config(directory))
    except Exception as error:  # as in `load`
        raise CoreError("model_unreadable", f"the tokenizer could not be loaded ({type(error).__name__})") from error


def _tokenizer(directory: Path, config: PreTrainedConfig) -> PreTrainedTokenizerBase:
    tokenizer = read_tokenizer(directory)
    if tokenizer.eos_token_id is None:
        generation = read_json(directory, "generation_config.json", needed=False)
        for ends in (generation.get("eos_token_id"), getattr(config.get_text_config(), "eos_token_id", None)):
            if (number := _first_id(ends)) is None:
                continue
            if (token := tokenizer.convert_ids_to_tokens(number)) is not None:
                tokenizer.eos_token = token
                break
    return tokenizer


def _first_id(ends: Any) -> int | None:
    """Returns the first of one or several token ids that end a generation."""
    numbers = ends if isinstance(ends, list) else [ends]
    return next((number for number in numbers if isinstance(number, int)), None)


def _refuse_unusable(config: PreTrainedConfig, stored: torch.dtype, weights: MasterWeights) -> None:
    if getattr(config, "quantization_config", None):
        message = "the model's weights are quantised and cannot be trained: register the original model"
        raise CoreError("quantised_model", message)
    if weights == "bfloat16" and stored != torch.bfloat16:
        kind = str(stored).removeprefix("torch.")
        raise CoreError(
            "master_weights_too_coarse",
            f"training.master_weights bfloat16 would round weights that are stored in {kind}: leave it at float32, or"
            " register the model with dtype bfloat16",
        )


def _refuse_untrainable(directory: Path) -> None:
    """Refuses files that do not hold plain weights, or of which transformers would read only a part."""
    if (directory / "adapter_config.json").exists():
        message = "an adapter's adapter_config.json lies beside the model: it would load the adapter's base instead"
        raise CoreError("model_unreadable", message)
    try:
        read_tensors(directory)
    except UnusableModel as error:
        code = "unsupported_dtype" if error.code == "unsupported-model" else "model_unreadable"
        raise CoreError(code, str(error)) from None


def _refuse_unknown_tokens(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    rows = model.get_input_embeddings().num_embeddings
    largest = max(tokenizer.get_vocab().values(), default=-1)
    if largest >= rows:
        message = f"the tokenizer has ids up to {largest}, and the model has embeddings for {rows} tokens only"
        raise CoreError("vocabulary_mismatch", message)


def stored_dtype(model: PreTrainedModel) -> torch.dtype:
    """Returns the dtype that most of this model's weights were stored in, which is not that of training."""
    stored = model.config.dtype or model.dtype
    return _STORED.get(stored, torch.float32) if isinstance(stored, str) else stored


def _prevailing_dtype(directory: Path) -> torch.dtype:
    """Returns the dtype of most of the files' weights: a config may name another, or none."""
    with ExitStack() as stack:
        return KINDS[prevailing_kind(open_files(directory, stack))]


def pad_id(tokenizer: PreTrainedTokenizerBase) -> int:
    """Returns a token for padding. Any token would do: a causal model's earlier positions do not see it."""
    for token in (tokenizer.pad_token_id, tokenizer.eos_token_id):
        if token is not None:
            return int(token)
    return 0


def context_length(model: PreTrainedModel, max_length: int) -> int:
    """Returns `max_length`, or the model's own context where that is shorter."""
    return min(max_length, _context(model.config) or max_length)


def read_context_length(directory: Path) -> int | None:
    """Returns the context of a directory's model without loading it; None where its config names none."""
    try:
        return _context(read_config(directory))
    except Exception as error:  # as in `load`
        raise CoreError("model_unreadable", "the model's config.json could not be read") from error


def _context(config: PreTrainedConfig) -> int | None:
    text = config.get_text_config()
    values = (getattr(text, name, None) for name in SIZES["context"])
    positions = next((value for value in values if isinstance(value, int) and value > 0), None)
    if positions is None:
        return None
    return usable_context(positions, model_type=text.model_type, padding=getattr(text, "pad_token_id", None))


def model_digest(directory: Path) -> str:
    """Returns the digest of the directory's files, by the rule of a checkpoint's digest, so that both compare."""
    return digest(manifest(directory))
