"""Loading a model from a directory, safely: local files, safetensors, no code from the directory."""

from contextlib import ExitStack
from pathlib import Path

import torch
from safetensors import safe_open
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from core.lm.errors import CoreError
from core.lm.tensor_files import KINDS, opened, prevailing
from core.lm.tokenizer import tokenizer_from
from core.schema.manifest import digest, manifest
from core.schema.shape import DTYPES, SIZES
from core.schema.training import MasterWeights

_STORED = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def device(rank: int = 0) -> torch.device:
    """The visible CUDA device of that number, else the CPU."""
    return torch.device("cuda", rank) if torch.cuda.is_available() else torch.device("cpu")


def load(
    directory: Path, dtype: str = "auto", *, device: torch.device, weights: MasterWeights = "float32"
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """The model in eval mode, and its tokenizer: the files are mapped, and go straight to the device.

    `weights` is what they are held in: float32 whatever the file holds, since an update under a thousandth of a
    bfloat16 weight would be rounded away, or bfloat16 where nothing is lost by that and updates are rounded
    stochastically. `dtype` (`auto`: most of the files' weights' own) is what checkpoints are written in: see
    `stored_dtype`.
    A tokenizer that names no end of sequence gets the config's.
    Raises CoreError `model_unreadable`, `quantised_model`, `unsupported_dtype`, `vocabulary_mismatch` and
    `master_weights_too_coarse`.
    """
    try:
        config = AutoConfig.from_pretrained(directory, local_files_only=True, trust_remote_code=False)
        stored = _STORED.get(dtype) or _prevailing(directory)
        _usable(config, stored, weights)
        _trainable_kinds(directory)
        model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(
            directory,
            config=config,
            dtype=_STORED[weights],
            device_map={"": device},
            local_files_only=True,
            use_safetensors=True,
            trust_remote_code=False,
        )
        tokenizer = _tokenizer(directory, config)
    except (MemoryError, CoreError):
        raise
    except Exception as error:  # a malformed file may make any library below raise anything
        raise CoreError(
            "model_unreadable",
            f"the model could not be loaded ({type(error).__name__}): it must be a causal language model in"
            " safetensors with its config and tokenizer, and bring no code of its own",
        ) from error
    model.config.dtype = stored
    _known_tokens(model, tokenizer)
    return model.eval(), tokenizer


def tokenizer_of(directory: Path) -> PreTrainedTokenizerBase:
    """The tokenizer alone. Raises CoreError `model_unreadable`."""
    try:
        config = AutoConfig.from_pretrained(directory, local_files_only=True, trust_remote_code=False)
        return _tokenizer(directory, config)
    except Exception as error:  # as in loading
        raise CoreError("model_unreadable", f"the tokenizer could not be loaded ({type(error).__name__})") from error


def _tokenizer(directory: Path, config: PreTrainedConfig) -> PreTrainedTokenizerBase:
    tokenizer = tokenizer_from(directory)
    if tokenizer.eos_token_id is None and isinstance(config.eos_token_id, int):
        tokenizer.eos_token = tokenizer.convert_ids_to_tokens(config.eos_token_id)
    return tokenizer


def _usable(config: PreTrainedConfig, stored: torch.dtype, weights: MasterWeights) -> None:
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


def _trainable_kinds(directory: Path) -> None:
    kinds: set[str] = set()
    for file in directory.glob("*.safetensors"):
        with safe_open(file, "pt") as weights:
            kinds.update(weights.get_slice(name).get_dtype() for name in weights.keys())  # noqa: SIM118 - no mapping
    if other := sorted(kinds - DTYPES.keys()):
        message = f"the model's files hold weights in {', '.join(other)}: they must be float32, bfloat16 or float16"
        raise CoreError("unsupported_dtype", message)


def _known_tokens(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    rows = model.get_input_embeddings().num_embeddings
    largest = max(tokenizer.get_vocab().values(), default=-1)
    if largest >= rows:
        message = f"the tokenizer has ids up to {largest}, and the model has embeddings for {rows} tokens only"
        raise CoreError("vocabulary_mismatch", message)


def stored_dtype(model: PreTrainedModel) -> torch.dtype:
    """What most of this model's weights are written in: the dtype they were stored in, not that of training."""
    stored = model.config.dtype or model.dtype
    return _STORED.get(stored, torch.float32) if isinstance(stored, str) else stored


def _prevailing(directory: Path) -> torch.dtype:
    """The files' own: a config may name another, or none."""
    with ExitStack() as stack:
        return KINDS[prevailing(opened(directory, stack))]


def pad_id(tokenizer: PreTrainedTokenizerBase) -> int:
    """A token to fill up with. Which one is of no consequence: a causal model's earlier positions do not see it."""
    for token in (tokenizer.pad_token_id, tokenizer.eos_token_id):
        if token is not None:
            return int(token)
    return 0


def context_length(model: PreTrainedModel, max_length: int) -> int:
    """`max_length`, or the model's own context where that is shorter."""
    return min(max_length, _context(model.config) or max_length)


def context_of(directory: Path) -> int | None:
    """The context of the model in the directory, which is not loaded; None where its config names none."""
    try:
        return _context(AutoConfig.from_pretrained(directory, local_files_only=True, trust_remote_code=False))
    except Exception as error:  # as in loading
        raise CoreError("model_unreadable", "the model's config.json could not be read") from error


def _context(config: PreTrainedConfig) -> int | None:
    text = config.get_text_config()
    return next((int(found) for name in SIZES["context"] if (found := getattr(text, name, None))), None)


def model_digest(directory: Path) -> str:
    """The digest of the directory's files: the same rule as a checkpoint's, so the two can be compared."""
    return digest(manifest(directory))
