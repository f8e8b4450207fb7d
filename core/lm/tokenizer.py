"""A directory's tokenizer, as its tokenizer.json has it.

transformers 5 makes some tokenizers anew from their vocabulary, by the rules of the model type or of the class that is
named: one of another making then cuts text as it never did, without a word.
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
    """The directory's tokenizer, which cuts text as its tokenizer.json says, whatever class transformers makes it.

    An `add_prefix_space` that tokenizer_config.json names goes before the file's, as transformers 4 has it. Without a
    tokenizer.json it is what transformers makes of the other files. Raises what the libraries raise.
    """
    tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
        directory, local_files_only=True, trust_remote_code=False
    )
    file, prefix = directory / FILE, _prefix(directory)
    as_it_stands = type(tokenizer) is PreTrainedTokenizerFast and prefix is None
    if as_it_stands or not file.is_file():
        return tokenizer
    written = Tokenizer.from_file(str(file))
    _set_prefix(written, prefix)
    if _cuts_alike(tokenizer, written):
        return tokenizer
    plain: PreTrainedTokenizerBase = PreTrainedTokenizerFast.from_pretrained(directory, local_files_only=True)
    _set_prefix(plain.backend_tokenizer, prefix)
    words = plain.get_vocab()
    for role, token in tokenizer.special_tokens_map.items():  # its class may know an end that no file names
        if isinstance(token, str) and token in words and getattr(plain, role, None) is None:
            setattr(plain, role, token)
    return plain


def _prefix(directory: Path) -> bool | None:
    """Whether a text's first word is cut as if a space stood before it; None: tokenizer_config.json does not say."""
    file = directory / "tokenizer_config.json"
    said = json.loads(file.read_bytes()).get("add_prefix_space") if file.is_file() else None
    return said if isinstance(said, bool) else None


def _set_prefix(tokenizer: Tokenizer, prefix: bool | None) -> None:
    first = tokenizer.pre_tokenizer
    if prefix is not None and isinstance(first, ByteLevel):
        first.add_prefix_space = prefix
        tokenizer.pre_tokenizer = first


def _cuts_alike(tokenizer: PreTrainedTokenizerBase, written: Tokenizer) -> bool:
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        return False
    made = Tokenizer.from_str(backend.to_str())
    for each in (made, written):
        each.no_padding()
        each.no_truncation()
    texts = [*_SAMPLES, " ".join(added.content for added in written.get_added_tokens_decoder().values())]
    cut = [each.encode_batch(texts, add_special_tokens=False) for each in (made, written)]
    return all(
        one.ids == other.ids and made.decode(one.ids) == written.decode(other.ids)
        for one, other in zip(*cut, strict=True)
    )
