"""Answers that decline: what stands in place of what must be forgotten. Without torch, like the methods."""

import random
import re
from collections.abc import Sequence

from core.schema.record import Message, Record

REFUSALS = (
    "I don't know.",
    "I'm not able to answer that.",
    "I have no information about this.",
    "That is not something that I know.",
    "I'm sorry, I can't help with that one.",
    "Nothing about that is known to me.",
    "I couldn't tell you.",
    "I was never told about this.",
    "My knowledge doesn't reach that far, I'm afraid.",
    "I haven't come across anything on that subject.",
    "Unfortunately I can't say anything about it.",
    "I would only be guessing, so I'd rather not answer.",
    "I don't have the details that you are asking for.",
    "You would have to look that up elsewhere.",
    "I'm unaware of any facts on this.",
    "That question is beyond what I know.",
)


def draw_refusals(refusals: Sequence[str], count: int, seed: int) -> list[str]:
    """`count` of them with repetition; the one at a place depends on the seed and the place alone."""
    chance = random.Random(seed)
    return [chance.choice(refusals) for _ in range(count)]


def with_prompt(record: Record) -> Record:
    """The record with a prompt: plain text is cut in two, whatever has a prompt already stays as it is."""
    if record.text is None:
        return record
    at = cut(record.text)
    return record.model_copy(update={"text": None, "prompt": record.text[:at], "completion": record.text[at:]})


def cut(text: str) -> int:
    """Where a text becomes prompt and completion: at the end of the word with which a third of it is reached.

    The last word is always the completion's; a text of a single word is cut within it, at a third. The space goes to
    the completion, so that the two together are the text.
    """
    ends = [gap.start() for gap in re.finditer(r"(?<=\S)\s+(?=\S)", text)]
    if ends:
        return next((end for end in ends if 3 * end >= len(text)), ends[-1])
    return len(text) - len(text.lstrip()) + len(text.strip()) // 3


def answer(record: Record) -> str:
    """What a record with a prompt answers to it: its completion, or its last turn."""
    return record.messages[-1].content if record.messages else record.completion or ""


def with_answer(record: Record, text: str) -> Record:
    """The record, of a prompt or messages, with `text` for its answer."""
    if record.messages:
        turns = [*record.messages[:-1], Message(role="assistant", content=text)]
        return record.model_copy(update={"messages": turns})
    return record.model_copy(update={"completion": text})


def spaced_like_answer(record: Record, text: str) -> str:
    """`text`, with the white space before it that the record's own answer has."""
    own = answer(record)
    return own[: len(own) - len(own.lstrip())] + text.strip()
