"""Loading a model from a directory, safely: local files, safetensors, no code from the directory."""

from pathlib import Path

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from core.lm.errors import CoreError
from core.schema.manifest import digest, manifest

_STORED = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def device() -> torch.device:
    """The first visible CUDA device, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def load(
    directory: Path, dtype: str = "auto", *, device: torch.device
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """The model with float32 weights, in eval mode, and its tokenizer.

    Weights are float32 whatever the file holds, since an update under a thousandth of a bfloat16 weight would be
    rounded away. `dtype` (`auto`: the file's own) is what checkpoints of it are written in: see `stored_dtype`.
    Raises CoreError `model_unreadable`.
    """
    try:
        config = AutoConfig.from_pretrained(directory, local_files_only=True, trust_remote_code=False)
        stored = _STORED.get(dtype) or config.dtype or torch.float32
        model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(
            directory,
            config=config,
            dtype=torch.float32,
            local_files_only=True,
            use_safetensors=True,
            trust_remote_code=False,
        )
        tokenizer = AutoTokenizer.from_pretrained(directory, local_files_only=True, trust_remote_code=False)
    except MemoryError:
        raise
    except Exception as error:  # a malformed file may make any library below raise anything
        raise CoreError(
            "model_unreadable",
            f"the model could not be loaded ({type(error).__name__}): it must be a causal language model in"
            " safetensors with its config and tokenizer, and bring no code of its own",
        ) from error
    model.config.dtype = stored
    return model.to(device).eval(), tokenizer


def stored_dtype(model: PreTrainedModel) -> torch.dtype:
    """What this model's checkpoints are written in: the dtype it was stored in, not the float32 it is trained in."""
    stored = model.config.dtype or model.dtype
    return _STORED.get(stored, torch.float32) if isinstance(stored, str) else stored


def pad_id(tokenizer: PreTrainedTokenizerBase) -> int:
    """A token to fill up with. Which one is of no consequence: a causal model's earlier positions do not see it."""
    for token in (tokenizer.pad_token_id, tokenizer.eos_token_id):
        if token is not None:
            return int(token)
    return 0


def context_length(model: PreTrainedModel, max_length: int) -> int:
    """`max_length`, or the model's own context where that is shorter."""
    return min(max_length, int(getattr(model.config, "max_position_embeddings", None) or max_length))


def model_digest(directory: Path) -> str:
    """The digest of the directory's files: the same rule as a checkpoint's, so the two can be compared."""
    return digest(manifest(directory))
