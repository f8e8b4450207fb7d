"""A tokenizer cuts text as its file says, whatever class transformers chooses."""

import json

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoTokenizer, PreTrainedTokenizerFast, Qwen2Tokenizer

from core.demo.people import people
from core.demo.pretraining import train_tokenizer
from core.lm.tokenizer import read_tokenizer
from tests.unit.lm.tiny import tiny_tokenizer

TEXT = "Born 12/31/1999 in São Paulo, isn't at me@example.org.\n\n  你好 "


def save_tokenizer(directory, model_type, tokenizer_class, **named):
    """Saves a newly trained tokenizer into a directory whose configs name another model type and class."""
    train_tokenizer(people(30, 0), 400).save_pretrained(directory)
    (directory / "config.json").write_text(json.dumps({"model_type": model_type}))
    file = directory / "tokenizer_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"tokenizer_class": tokenizer_class} | named))
    return Tokenizer.from_file(str(directory / "tokenizer.json"))


@pytest.mark.parametrize("model_type", ["qwen2", "llama", "gpt2"])
@pytest.mark.parametrize("tokenizer_class", ["Qwen2Tokenizer", "GPT2TokenizerFast", "PreTrainedTokenizerFast"])
def test_text_is_cut_as_tokenizer_json_says_whatever_class_is_named(tmp_path, model_type, tokenizer_class):
    file = save_tokenizer(tmp_path, model_type, tokenizer_class)
    tokenizer = read_tokenizer(tmp_path)
    assert tokenizer(TEXT)["input_ids"] == file.encode(TEXT).ids
    assert tokenizer.decode(tokenizer(TEXT)["input_ids"], skip_special_tokens=True) == TEXT
    assert (tokenizer.bos_token, tokenizer.eos_token, tokenizer.pad_token) == ("<s>", "</s>", "<pad>")


def test_transformers_alone_would_cut_differently(tmp_path):
    """If this fails, transformers has been mended, and read_tokenizer is not needed any more."""
    file = save_tokenizer(tmp_path, "qwen2", "Qwen2Tokenizer")
    assert AutoTokenizer.from_pretrained(tmp_path)(TEXT)["input_ids"] != file.encode(TEXT).ids


def test_a_tokenizer_that_transformers_rebuilds_correctly_keeps_its_class(tmp_path):
    letters = [*sorted(pre_tokenizers.ByteLevel.alphabet()), "<|endoftext|>"]
    Qwen2Tokenizer({token: place for place, token in enumerate(letters)}, []).save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "qwen2"}))
    assert type(read_tokenizer(tmp_path)) is Qwen2Tokenizer


def test_an_end_token_that_only_the_class_knows_is_kept(tmp_path):
    words = {"<|endoftext|>": 0, "Ġa": 1, "a": 2}
    backend = Tokenizer(models.BPE(words, []))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    backend.save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "Qwen2Tokenizer"}))
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "qwen2"}))
    tokenizer = read_tokenizer(tmp_path)
    assert type(tokenizer) is PreTrainedTokenizerFast
    assert tokenizer.eos_token_id == 0


@pytest.mark.parametrize("tokenizer_class", ["GPT2Tokenizer", "Qwen2Tokenizer", "PreTrainedTokenizerFast"])
@pytest.mark.parametrize(("prefix", "first"), [(True, "Ġ"), (False, "a"), (None, "a")])
def test_a_prefix_space_in_the_config_overrides_the_files(tmp_path, tokenizer_class, prefix, first):
    letters = [*sorted(pre_tokenizers.ByteLevel.alphabet()), "<|endoftext|>"]
    backend = Tokenizer(models.BPE({token: place for place, token in enumerate(letters)}, []))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.save(str(tmp_path / "tokenizer.json"))
    named = {"tokenizer_class": tokenizer_class} | ({} if prefix is None else {"add_prefix_space": prefix})
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(named))
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "gpt2"}))
    assert read_tokenizer(tmp_path).tokenize("ab")[0] == first


def test_an_ordinary_directorys_tokenizer_is_read_as_before(tmp_path):
    tiny_tokenizer().save_pretrained(tmp_path)
    assert read_tokenizer(tmp_path)("w0 w1")["input_ids"] == [0, 3, 4]
