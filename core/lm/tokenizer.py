"""A directory's tokenizer, as its tokenizer.json defines it.

transformers 5 rebuilds some tokenizers from their vocabulary, by the rules of the model type or of the class that is
named. A tokenizer with other rules then cuts text as it never did, without a warning.
"""

import json
from pathlib import Path

from tokenizers import Tokenizer
from tokenizers.pre_tokenizers import ByteLevel
from transformers import AutoTokenizer, PreTrainedTokenizerBase, PreTrainedTokenizerFast

FILE = "tokenizer.json"
_SAMPLES = (
    "The quick brown fox, born 12/31/1999 in São Paulo, isn't 1,234.56 years old: it's 007!",
    "two  spaces,   three,\ttab,\nline\n\n  indented\r\n end ",
    " begins with a space; UPPER lower camelCase snake_case me.first+last@example.org (https://example.org/a?b=c)",
    "naïve Ångström ﬁne x² ½ ''quotes'' “so” – — … €5 100% #1 a/b\\c {[<>]} *** ??? !!",
    "Привет, мир! Γειά. שלום مرحبا नमस्ते สวัสดี 你好,世界。こんにちは 안녕하세요 🙂👩‍👩‍👧",
    "decomposed: cafe\u0301, A\u030angstro\u0308m; compatible: \ufb01, \u2167, \uff21; hidden: a\u00a0b\u200bc\u00add",
    "for i in range(10):\n    if x != y and not z:\n        return {'a': [1, 2.5e-3]}  # why?\n",
)


def read_tokenizer(directory: Path) -> PreTrainedTokenizerBase:
    """Reads the directory's tokenizer, which cuts text as its tokenizer.json says, whatever class transformers chooses.

    An `add_prefix_space` in tokenizer_config.json overrides the file's, as in transformers 4. Without a tokenizer.json,
    transformers makes the tokenizer from the other files. Raises what the libraries raise.
    """
    tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
        directory, local_files_only=True, trust_remote_code=False
    )
    file, prefix = directory / FILE, _prefix(directory)
    plain_class = type(tokenizer) is PreTrainedTokenizerFast and prefix is None  # it is built from the file itself
    if plain_class or not file.is_file():
        return tokenizer
    from_file = Tokenizer.from_file(str(file))
    _set_prefix(from_file, prefix)
    if _cuts_alike(tokenizer, from_file):
        return tokenizer
    plain: PreTrainedTokenizerBase = PreTrainedTokenizerFast.from_pretrained(directory, local_files_only=True)
    _set_prefix(plain.backend_tokenizer, prefix)
    vocabulary = plain.get_vocab()
    for role, token in tokenizer.special_tokens_map.items():  # its class may know an end token that no file names
        if isinstance(token, str) and token in vocabulary and getattr(plain, role, None) is None:
            setattr(plain, role, token)
    return plain


def _prefix(directory: Path) -> bool | None:
    """Returns tokenizer_config.json's `add_prefix_space`; None where it does not name it.

    With it, a text's first word is cut as if a space stood before it.
    """
    file = directory / "tokenizer_config.json"
    prefix = json.loads(file.read_bytes()).get("add_prefix_space") if file.is_file() else None
    return prefix if isinstance(prefix, bool) else None


def _set_prefix(tokenizer: Tokenizer, prefix: bool | None) -> None:
    first = tokenizer.pre_tokenizer
    if prefix is not None and isinstance(first, ByteLevel):
        first.add_prefix_space = prefix
        tokenizer.pre_tokenizer = first


def _cuts_alike(tokenizer: PreTrainedTokenizerBase, from_file: Tokenizer) -> bool:
    """Whether both cut the sample texts into the same tokens, and decode them to the same text."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        return False
    rebuilt = Tokenizer.from_str(backend.to_str())
    for candidate in (rebuilt, from_file):
        candidate.no_padding()
        candidate.no_truncation()
    texts = [*_SAMPLES, " ".join(token.content for token in from_file.get_added_tokens_decoder().values())]
    encodings = [candidate.encode_batch(texts, add_special_tokens=False) for candidate in (rebuilt, from_file)]
    return all(
        left.ids == right.ids and rebuilt.decode(left.ids) == from_file.decode(right.ids)
        for left, right in zip(*encodings, strict=True)
    )
