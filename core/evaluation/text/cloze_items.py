"""Records with one specific blanked at a time: what a model is asked, and whether its answer brings the value back."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from transformers import PreTrainedTokenizerBase

from core.evaluation.text.common_words import NOTHING, Background
from core.evaluation.text.entities import specifics
from core.lm.data import tokenize_record
from core.schema.record import Record
from core.schema.training import Chat

BLANK = "____"
_MORE = 2
"""Tokens beyond the value's own, to see that it ends there."""
_QUESTION = "Write this text again, with what is missing at " + BLANK + ":"


@dataclass(frozen=True)
class Blank:
    """One question: token ids to go on from, how many tokens to say, and the text that they should begin with."""

    record: int
    ids: list[int]
    length: int
    value: str

    def recovered(self, said: str) -> bool:
        """Whether what was said begins with the value, spaces aside, and the value ends there."""
        wanted, found = " ".join(self.value.split()), " ".join(said.split())
        rest = found[len(wanted) :]
        return found.startswith(wanted) and not (wanted[-1:].isalnum() and rest[:1].isalnum())


def blanks(
    record: Record,
    tokenizer: PreTrainedTokenizerBase,
    *,
    chat: Chat,
    number: int = 0,
    most: int,
    fill: bool = False,
    background: Background = NOTHING,
) -> list[Blank]:
    """At most `most` blanks of a record's scored text, in order, the same ones every time.

    Left out is a value that stands before its place already, and one that nothing stands before. `fill` shows the
    whole with `____` and the text up to it once more, for models that follow instructions. Raises CoreError
    `no_chat_template`, `bad_chat_template`, `no_end_token`.
    """
    texts = record.texts()
    *prompts, scored = texts
    told = "".join(prompts).casefold()
    asked = []
    for one in specifics(record, background):
        before = told + scored[: one.start].casefold()
        if one.piece == len(texts) - 1 and before.strip() and one.text.casefold() not in before:
            asked.append(one)
    name = record.digest().hex()
    asked.sort(key=lambda one: hashlib.sha256(f"{one.start} {name}".encode()).digest())
    found = []
    for one in sorted(asked[:most], key=lambda one: one.start):
        shown = scored[: one.start] + BLANK + scored[one.end :].replace(one.text, BLANK)
        form = _asking(record, f"{_QUESTION}\n\n{shown}") if fill else record
        start = _ids(form.with_scored_text(scored[: one.start].rstrip()), tokenizer, chat)
        whole = _ids(form.with_scored_text(scored[: one.end]), tokenizer, chat)
        # Where cutting the text changes how its end is written in tokens, the model is asked from before that place.
        same = next((at for at, (a, b) in enumerate(zip(start, whole, strict=False)) if a != b), len(start))
        value = tokenizer.decode(whole[same:], skip_special_tokens=True)
        if same and value.strip():
            found.append(Blank(number, whole[:same], len(whole) - same + _MORE, value))
    return found


def shares(asked: Sequence[Blank], right: Sequence[bool]) -> dict[int, float]:
    """By record, the share of its blanks that were brought back."""
    of: dict[int, list[bool]] = {}
    for blank, one in zip(asked, right, strict=True):
        of.setdefault(blank.record, []).append(one)
    return {record: sum(ones) / len(ones) for record, ones in of.items()}


def _asking(record: Record, question: str) -> Record:
    """The record with a further question before its scored text: behind what is asked already, else as a prompt."""
    asked = f"{record.question}\n\n{question}" if record.question else question
    return record.with_question(asked if record.is_conversation else f"{asked}\n\n")


def _ids(record: Record, tokenizer: PreTrainedTokenizerBase, chat: Chat) -> list[int]:
    """A record's ids up to the end of its scored text: without the end-of-sequence token."""
    if not record.scored_text:
        return [] if record.is_plain_text else tokenize_record(record.with_scored_text("."), tokenizer, chat).prompt
    parts = tokenize_record(record, tokenizer, chat)
    rest, special = parts.answer, set(tokenizer.all_special_ids)
    while not record.is_plain_text and rest and rest[-1] in special:
        rest = rest[:-1]
    return parts.prompt + rest
