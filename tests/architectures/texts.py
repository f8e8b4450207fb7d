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
"""Of the records, in tokens: shorter and longer than every window and than the context before it was stretched."""
PROMPTS = (3, 11, 30, 5, 11)
NEW_TOKENS = 12


def tokenizer() -> PreTrainedTokenizerFast:
    """Words w4 to w159 are the tokens 4 to 159."""
    words = {"<pad>": PADDING, "<s>": BEGIN, "</s>": END, "<unk>": UNKNOWN}
    words |= {f"w{number}": number for number in range(FIRST_WORD, VOCABULARY)}
    made = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=made, pad_token="<pad>", bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    )


def ids(count: int, seed: int) -> list[int]:
    """So many tokens, none of them special."""
    drawn = random.Random(seed)
    return [drawn.randrange(FIRST_WORD, VOCABULARY) for _ in range(count)]


def chunks() -> list[Chunk]:
    """Records as the core encodes them: every token but the first scored, or of every third one only its end."""
    made = []
    for number, length in enumerate(LENGTHS):
        scored = torch.arange(length) >= (length // 2 if number % 3 == 2 else 1)
        made.append(Chunk(torch.tensor(ids(length, number)), scored, number))  # type: ignore[arg-type]
    return made


def prompts() -> list[list[int]]:
    """Beginnings to continue, of several lengths."""
    return [ids(length, 100 + number) for number, length in enumerate(PROMPTS)]


def records(count: int, seed: int) -> list[Record]:
    """Texts of 6 to 40 words."""
    drawn = random.Random(seed)
    return [
        Record(text=" ".join(f"w{token}" for token in ids(drawn.randint(6, 40), seed * 1000 + number)))
        for number in range(count)
    ]
