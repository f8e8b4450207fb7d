"""Tokenizers that cut words into pieces as those of real models do, with the tokens of a chat template's shape."""

import string
from functools import cache

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from tests.chat_templates import Shape

TEXTS = [
    "Where is it? In Pell, on the hill. assistant user system model Today Be brief. You help.",
    "\n\n[INST] [/INST]",
]
END_OF_TEXT = "<|endoftext|>"


@cache
def _bytes() -> str:
    """A tokenizer of pieces of bytes, with the space before a word in its first piece (as GPT-2's)."""
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    backend.train_from_iterator(
        TEXTS, trainers.BpeTrainer(vocab_size=300, initial_alphabet=alphabet, show_progress=False)
    )
    return str(backend.to_str())


@cache
def _pieces() -> str:
    """A tokenizer of pieces of the whole text, with a space put before it (as Llama 2's)."""
    backend = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True))
    backend.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    backend.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    letters = sorted(set(f"{string.ascii_letters}{string.digits}{string.punctuation}\n▁"))
    trainer = trainers.BpeTrainer(
        vocab_size=160, initial_alphabet=letters, special_tokens=["<unk>"], show_progress=False
    )
    backend.train_from_iterator([word for text in TEXTS for word in text.split()], trainer)
    return str(backend.to_str())


def chat_tokenizer(shape: Shape, *, pieces: bool = False, eos: str = "</s>") -> PreTrainedTokenizerFast:
    """Returns a tokenizer of bytes, or of pieces of the text. `eos` need not be the token that ends a turn."""
    backend = Tokenizer.from_str(_pieces() if pieces else _bytes())
    backend.add_special_tokens(
        [AddedToken(token, special=True, normalized=False) for token in ("<s>", "</s>", END_OF_TEXT, *shape.special)]
    )
    backend.add_tokens([AddedToken(token, special=False, normalized=False) for token in shape.added])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, bos_token="<s>", eos_token=eos)
    tokenizer.chat_template = shape.source
    return tokenizer
