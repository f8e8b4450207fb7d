"""The architecture that a config names, and whether it is a causal language model that can be trained."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

from core.schema.model_files import UnusableModel

_CAUSAL = ("ForCausalLM", "LMHeadModel")
_ALSO_CAUSAL = ("BertGenerationDecoder", "ReformerModelWithLMHead")

ENCODERS = frozenset(
    {
        *("bert", "bert-generation", "big_bird", "camembert", "data2vec-text", "electra", "ernie", "megatron-bert"),
        *("reformer", "rembert", "roberta", "roberta-prelayernorm", "roc_bert", "roformer"),
        *("xlm-roberta", "xlm-roberta-xl", "xmod"),
    }
)
"""Model types that attend to later tokens unless their config has `is_decoder`."""

BIDIRECTIONAL = frozenset({"cpmant", "xlnet"})
"""Model types that always attend to later tokens."""

AFTER_PADDING = frozenset(
    {
        *("camembert", "data2vec-text", "roberta", "roberta-prelayernorm"),
        *("xlm-roberta", "xlm-roberta-xl", "xmod"),
    }
)
"""Model types that count positions from the padding token's id on: their tables are longer than any text."""

_BESIDE_TEXT = ("vision_config", "audio_config", "vision_tower", "vision_encoder")


def supported_architecture(config: dict[str, Any]) -> str:
    """Returns the class that config.json names, if it is a causal language model whose weights can be trained.

    Raises UnusableModel `unsupported-model` with advice.
    """
    name = _architecture_name(config)
    kind = config.get("model_type")
    causal = name.endswith(_CAUSAL) or name in _ALSO_CAUSAL
    if not causal and any(isinstance(config.get(key), dict) for key in (*_BESIDE_TEXT, "text_config")):
        raise _unsupported(_multimodal_message(config, name))
    if config.get("is_encoder_decoder") is True or (not causal and name.endswith("ForConditionalGeneration")):
        raise _unsupported(
            f"{name} is an encoder and a decoder: what it writes depends on a text beside the record. Register a model"
            " that has a decoder alone"
        )
    if not causal:
        raise _unsupported(
            f"{name}, which config.json names, is not a causal language model (…ForCausalLM): it has no head that"
            " predicts the next token. Register the language model itself"
        )
    if kind in BIDIRECTIONAL:
        raise _unsupported(
            f"{name} is not causal: a token's prediction depends on the tokens after it, so that its likelihoods say"
            " nothing of what it recalls. Register a model that predicts from left to right"
        )
    if kind in ENCODERS and config.get("is_decoder") is not True:
        raise _unsupported(
            f"{name} with 'is_decoder' false is not causal: each token sees those after it. If it was trained to"
            ' predict the next token, set "is_decoder": true in config.json; else register another model'
        )
    if config.get("quantization_config"):
        raise _unsupported(
            "quantised weights cannot be trained: register the original model, or write the weights out in bfloat16"
            " (model.dequantize() and model.save_pretrained() of transformers) and register that directory"
        )
    return name


def usable_context(positions: int, *, model_type: Any, padding: Any) -> int:
    """Returns the tokens of the longest text that a table of so many positions has room for."""
    if model_type in AFTER_PADDING:
        return max(1, positions - 1 - (padding if isinstance(padding, int) else 1))
    return positions


def refuse_custom_code(name: str, content: dict[str, Any], *, model_type: Any) -> None:
    """Raises UnusableModel `unsafe-model` where a JSON file names code to load (`auto_map`)."""
    if not _names_code(content):
        return
    message = f"{name} has 'auto_map': models that bring their own code are refused"
    if _is_in_transformers(model_type):
        message += (
            f". transformers has '{model_type}' itself: remove 'auto_map' from config.json and tokenizer_config.json"
            " and register again"
        )
    else:
        message += "; convert the model to an architecture that transformers has, or register another one"
    raise UnusableModel("unsafe-model", message)


def _architecture_name(config: dict[str, Any]) -> str:
    names = config.get("architectures")
    if isinstance(names, list) and names and isinstance(names[0], str):
        return names[0]
    raise _unsupported(
        "config.json does not name the architecture of a causal language model: add the class that the weights belong"
        ' to, such as "architectures": ["LlamaForCausalLM"]'
    )


def _multimodal_message(config: dict[str, Any], name: str) -> str:
    text = config.get("text_config")
    kind = text.get("model_type") if isinstance(text, dict) else None
    text_part = f" (its text part is '{kind}')" if isinstance(kind, str) else ""
    return (
        f"{name} works on images or sound beside text{text_part}: the service trains language models alone. Write the"
        ' language model to a directory of its own, as "Registering models" of docs/operations.md shows, and register'
        " that"
    )


def _names_code(content: Any) -> bool:
    if isinstance(content, dict):
        return "auto_map" in content or any(_names_code(value) for value in content.values())
    return isinstance(content, list) and any(_names_code(value) for value in content)


def _is_in_transformers(model_type: Any) -> bool:
    """Whether transformers has the model type. It looks for the folder, since importing the library loads torch."""
    if not isinstance(model_type, str) or not model_type.replace("-", "_").isidentifier():
        return False
    folders = getattr(find_spec("transformers"), "submodule_search_locations", None) or []
    return any(Path(folder, "models", model_type.replace("-", "_")).is_dir() for folder in folders)


def _unsupported(message: str) -> UnusableModel:
    return UnusableModel("unsupported-model", message)
