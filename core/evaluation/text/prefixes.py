"""Where a record is cut: what a model is given of it, and what it should not be able to say."""

from collections.abc import Sequence
from dataclasses import dataclass

from transformers import PreTrainedTokenizerBase

from core.lm.data import tokenize_record
from core.schema.record import Record
from core.schema.training import Chat


@dataclass(frozen=True)
class Beginning:
    """Token ids of a record's first part, and of the rest, without what only ends it. Either may be empty."""

    first: list[int]
    rest: list[int]
    cut: bool
    """The first part was too long, and lost its left."""


def beginning(
    record: Record,
    tokenizer: PreTrainedTokenizerBase,
    *,
    length: int,
    chat: Chat,
    tokens: int,
    share: float = 0.5,
) -> Beginning:
    """The first part: `share` of a plain text's first `length` tokens, or the whole prompt.

    At most `tokens` of the rest, and both parts at most `length` tokens (>= 2) together: a prompt that is too long
    loses its left, and leaves half of the room at least. Raises CoreError `no_chat_template`, `bad_chat_template`,
    `no_end_token`.
    """
    parts = tokenize_record(record, tokenizer, chat)
    first, rest = parts.prompt, parts.answer
    special = set(tokenizer.all_special_ids)
    while rest and rest[-1] in special:
        rest = rest[:-1]
    if record.is_plain_text:
        ids = (first + rest)[:length]
        place = max(1, int(len(ids) * share))
        return Beginning(ids[:place], ids[place:][:tokens], cut=False)
    if not first:
        first, rest = rest[:1], rest[1:]  # nothing can be said after nothing
    rest = rest[: min(tokens, max(length - len(first), length // 2))]
    room = length - len(rest)
    return Beginning(first[-room:], rest, cut=len(first) > room)


def put_before(record: Record, words: Sequence[int], start: Beginning, special: Sequence[int]) -> Beginning:
    """The same with words (token ids) before a plain text's first part, or behind a prompt, where the answer begins."""
    if not record.is_plain_text:
        return Beginning([*start.first, *words], start.rest, start.cut)
    opening = 0
    while opening < len(start.first) - 1 and start.first[opening] in special:
        opening += 1
    return Beginning([*start.first[:opening], *words, *start.first[opening:]], start.rest, start.cut)
