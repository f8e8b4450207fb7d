"""Tokens and texts for tiny models: records of many lengths, prompts, and a tokenizer of 160 words."""

import random

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from core.lm.data import Chunk
from core.schema.record import Record
from tests.architectures.sizes import VOCABULARY

PADDING, BEGIN, END, UNKNOWN = range(4)
FIRST_WORD = 4
LENGTHS = (61, 5, 17, 40, 3, 40, 9, 28)
"""Tokens of the records: shorter and longer than every window, and than the context before it was stretched."""
PROMPTS = (3, 11, 30, 5, 11)
NEW_TOKENS = 12


def tokenizer() -> PreTrainedTokenizerFast:
    """Words w4 to w159 are the tokens 4 to 159."""
    words = {"<pad>": PADDING, "<s>": BEGIN, "</s>": END, "<unk>": UNKNOWN}
    words |= {f"w{number}": number for number in range(FIRST_WORD, VOCABULARY)}
    backend = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token="<pad>", bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    )


def ids(count: int, seed: int) -> list[int]:
    """Returns `count` random tokens, none of them special."""
    generator = random.Random(seed)
    return [generator.randrange(FIRST_WORD, VOCABULARY) for _ in range(count)]


def chunks() -> list[Chunk]:
    """Returns records as the core encodes them: every token but the first is scored, or the second half alone."""
    records = []
    for number, length in enumerate(LENGTHS):
        scored = torch.arange(length) >= (length // 2 if number % 3 == 2 else 1)
        records.append(Chunk(torch.tensor(ids(length, number)), scored, number))  # type: ignore[arg-type]
    return records


def prompts() -> list[list[int]]:
    """Returns texts to continue, of several lengths."""
    return [ids(length, 100 + number) for number, length in enumerate(PROMPTS)]


def records(count: int, seed: int) -> list[Record]:
    """Returns texts of 6 to 40 words."""
    generator = random.Random(seed)
    return [
        Record(text=" ".join(f"w{token}" for token in ids(generator.randint(6, 40), seed * 1000 + number)))
        for number in range(count)
    ]
