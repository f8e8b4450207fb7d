"""Refusals: answers that decline, to train in place of the answers to forget. Imports no torch, like the methods."""

import random
from collections.abc import Sequence

from core.schema.record import Record

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
    """Draws `count` refusals with repetition; each depends on the seed and its place alone."""
    rng = random.Random(seed)
    return [rng.choice(refusals) for _ in range(count)]


def spaced_like_answer(record: Record, text: str) -> str:
    """`text` with the leading white space of the record's own answer."""
    answer = record.scored_text
    return answer[: len(answer) - len(answer.lstrip())] + text.strip()
