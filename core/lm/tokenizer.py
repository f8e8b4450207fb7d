"""A directory's tokenizer, as its tokenizer.json has it.

transformers 5 makes some tokenizers anew from their vocabulary, by the rules of the model type or of the class that is
named: one of another making then cuts text as it never did, without a word.
"""

from pathlib import Path

from tokenizers import Tokenizer
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


def tokenizer_from(directory: Path) -> PreTrainedTokenizerBase:
    """The directory's tokenizer, which cuts text as its tokenizer.json says, whatever class transformers makes it.

    Without a tokenizer.json it is what transformers makes of the other files. Raises what the libraries raise.
    """
    tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
        directory, local_files_only=True, trust_remote_code=False
    )
    if not (directory / FILE).is_file() or _cuts_alike(tokenizer, directory / FILE):
        return tokenizer
    plain: PreTrainedTokenizerBase = PreTrainedTokenizerFast.from_pretrained(directory, local_files_only=True)
    words = plain.get_vocab()
    for role, token in tokenizer.special_tokens_map.items():  # its class may know an end that no file names
        if isinstance(token, str) and token in words and getattr(plain, role, None) is None:
            setattr(plain, role, token)
    return plain


def _cuts_alike(tokenizer: PreTrainedTokenizerBase, file: Path) -> bool:
    if type(tokenizer) is PreTrainedTokenizerFast:  # is made of the file itself
        return True
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        return False
    as_made, as_written = Tokenizer.from_str(backend.to_str()), Tokenizer.from_file(str(file))
    for each in (as_made, as_written):
        each.no_padding()
        each.no_truncation()
    texts = [*_SAMPLES, " ".join(added.content for added in as_written.get_added_tokens_decoder().values())]
    cut = [each.encode_batch(texts, add_special_tokens=False) for each in (as_made, as_written)]
    return all(
        one.ids == other.ids and as_made.decode(one.ids) == as_written.decode(other.ids)
        for one, other in zip(*cut, strict=True)
    )
