"""The tokenizer of a model directory: whether it fits the model, and how many bytes of text a token stands for."""

from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from core.schema.model_files import UnusableModel, read_json
from core.schema.tokenizer_sample import SAMPLE

TOKENIZER_FILE = "tokenizer.json"
_CONVERT = (
    "write it once with transformers (AutoTokenizer.from_pretrained(directory).save_pretrained(directory){needs}) and"
    " register again"
)


def check_tokenizer(
    directory: Path, config: dict[str, Any], tokenizer_config: dict[str, Any], *, vocabulary: int
) -> None:
    """Raises UnusableModel where the tokenizer has tokens that the model lacks, or no end-of-sequence token.

    `config` is that of the language model.
    """
    if not (directory / TOKENIZER_FILE).is_file():
        raise _missing_tokenizer(directory)
    content = read_json(directory, TOKENIZER_FILE)
    model = content.get("model")
    entries = model.get("vocab") if isinstance(model, dict) else None
    added = content.get("added_tokens")
    ids = [token.get("id") for token in added if isinstance(token, dict)] if isinstance(added, list) else []
    if isinstance(entries, dict):
        ids += entries.values()
    elif isinstance(entries, list):
        ids.append(len(entries) - 1)
    largest = max((number for number in ids if isinstance(number, int)), default=None)
    if largest is None:
        raise UnusableModel("model-incomplete", f"{TOKENIZER_FILE} has no vocabulary")
    if largest >= vocabulary:
        raise UnusableModel(
            "unsupported-model",
            f"the tokenizer has ids up to {largest}, the model's vocabulary ends before {vocabulary}: register the"
            " tokenizer that the model was trained with, or widen the model (resize_token_embeddings) first",
        )
    generation = read_json(directory, "generation_config.json", needed=False)
    special = read_json(directory, "special_tokens_map.json", needed=False)
    end_tokens = (*(source.get("eos_token_id") for source in (config, generation)), tokenizer_config.get("eos_token"))
    end_tokens = (*end_tokens, special.get("eos_token"))
    if all(token is None or token == [] for token in end_tokens):
        raise UnusableModel(
            "unsupported-model",
            "neither config nor tokenizer names an end-of-sequence token: set eos_token_id in config.json or"
            " eos_token in tokenizer_config.json",
        )


def bytes_per_token(directory: Path) -> float:
    """Returns the bytes of text per token, at most 6, on a sample of names and numbers. Raises UnusableModel.

    Names and numbers take more tokens than prose, so a text has no more tokens than this number gives.
    """
    try:
        tokenizer = Tokenizer.from_file(str(directory / TOKENIZER_FILE))
    except Exception:  # noqa: BLE001 - the library has no class of errors of its own
        raise UnusableModel("model-incomplete", f"{TOKENIZER_FILE} is not a readable tokenizer") from None
    tokens = sum(len(encoding.ids) for encoding in tokenizer.encode_batch(SAMPLE, add_special_tokens=False))
    return round(min(6.0, sum(len(text.encode()) for text in SAMPLE) / max(tokens, 1)), 2)


def _missing_tokenizer(directory: Path) -> UnusableModel:
    for name, needs in (
        ("tokenizer.model", ", which takes sentencepiece and protobuf"),
        ("spiece.model", ", which takes sentencepiece and protobuf"),
        ("vocab.json", ""),
        ("vocab.txt", ""),
    ):
        if (directory / name).is_file():
            message = f"there is no {TOKENIZER_FILE} in the directory, only {name}: {_CONVERT.format(needs=needs)}"
            return UnusableModel("model-incomplete", message)
    return UnusableModel(
        "model-incomplete", f"there is no {TOKENIZER_FILE} in the directory: copy the tokenizer's files as well"
    )
