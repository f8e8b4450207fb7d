"""Cuts a record into the prefix that a model is given and the continuation that it should not be able to write."""

from collections.abc import Sequence
from dataclasses import dataclass

from transformers import PreTrainedTokenizerBase

from core.lm.data import tokenize_record
from core.schema.record import Record
from core.schema.training import Chat


@dataclass(frozen=True)
class PrefixSplit:
    """Token ids of a record's prefix and of its continuation, without tokens that only end it. Either may be empty."""

    prefix: list[int]
    continuation: list[int]
    truncated: bool
    """Whether the prefix was too long and lost its beginning."""


def split_prefix(
    record: Record,
    tokenizer: PreTrainedTokenizerBase,
    *,
    length: int,
    chat: Chat,
    tokens: int,
    share: float = 0.5,
) -> PrefixSplit:
    """Cuts a record in two: the prefix is `share` of a plain text's first `length` tokens, or the whole prompt.

    The continuation has at most `tokens` tokens, both together at most `length` (>= 2): a prompt that is too long
    loses its beginning and leaves at least half of the room. Raises CoreError `no_chat_template`, `bad_chat_template`,
    `no_end_token`.
    """
    tokenized = tokenize_record(record, tokenizer, chat)
    prefix, continuation = tokenized.prompt, tokenized.answer
    special = set(tokenizer.all_special_ids)
    while continuation and continuation[-1] in special:
        continuation = continuation[:-1]
    if record.is_plain_text:
        ids = (prefix + continuation)[:length]
        cut = max(1, int(len(ids) * share))
        return PrefixSplit(ids[:cut], ids[cut:][:tokens], truncated=False)
    if not prefix:
        prefix, continuation = continuation[:1], continuation[1:]  # a model continues no empty text
    continuation = continuation[: min(tokens, max(length - len(prefix), length // 2))]
    room = length - len(continuation)
    return PrefixSplit(prefix[-room:], continuation, truncated=len(prefix) > room)


def insert_words(record: Record, words: Sequence[int], split: PrefixSplit, special: Sequence[int]) -> PrefixSplit:
    """Inserts words (token ids) before a plain text's prefix, or behind a prompt, where the answer begins."""
    if not record.is_plain_text:
        return PrefixSplit([*split.prefix, *words], split.continuation, split.truncated)
    opening = 0
    while opening < len(split.prefix) - 1 and split.prefix[opening] in special:
        opening += 1
    prefix = [*split.prefix[:opening], *words, *split.prefix[opening:]]
    return PrefixSplit(prefix, split.continuation, split.truncated)
