"""Cloze items of a record: one entity is blanked at a time, and the model is asked for the value."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from transformers import PreTrainedTokenizerBase

from core.evaluation.text.common_words import ENGLISH_ONLY, CommonWords
from core.evaluation.text.entities import find_entities
from core.lm.data import tokenize_record
from core.schema.record import Record
from core.schema.training import Chat

BLANK = "____"
_EXTRA_TOKENS = 2
"""Tokens generated beyond the value's own, which show whether the answer ends with the value."""
_QUESTION = "Write this text again, with what is missing at " + BLANK + ":"


@dataclass(frozen=True)
class ClozeItem:
    """One blank: the token ids to continue, how many tokens to generate, and the value that these should begin with."""

    record: int
    ids: list[int]
    length: int
    value: str

    def is_recovered_by(self, answer: str) -> bool:
        """Whether the answer begins with the value, apart from spaces, and the value's last word ends there."""
        value, text = " ".join(self.value.split()), " ".join(answer.split())
        rest = text[len(value) :]
        return text.startswith(value) and not (value[-1:].isalnum() and rest[:1].isalnum())


def cloze_items(
    record: Record,
    tokenizer: PreTrainedTokenizerBase,
    *,
    chat: Chat,
    number: int = 0,
    limit: int,
    fill: bool = False,
    common: CommonWords = ENGLISH_ONLY,
) -> list[ClozeItem]:
    """At most `limit` cloze items of a record's scored text, in order; always the same ones of the same record.

    A value is left out if it stands earlier in the record too, or if nothing precedes it. `fill` shows the whole record
    with `____` and then its text up to the blank, for models that follow instructions. `number` is put into the items
    as their record's. Raises CoreError `no_chat_template`, `bad_chat_template`, `no_end_token`.
    """
    texts = record.texts()
    *prompts, scored = texts
    prompt = "".join(prompts).casefold()
    candidates = []
    for entity in find_entities(record, common):
        before = prompt + scored[: entity.start].casefold()
        in_scored_text = entity.text_number == len(texts) - 1
        if in_scored_text and before.strip() and entity.text.casefold() not in before:
            candidates.append(entity)
    digest = record.digest().hex()
    candidates.sort(key=lambda entity: hashlib.sha256(f"{entity.start} {digest}".encode()).digest())
    items = []
    for entity in sorted(candidates[:limit], key=lambda entity: entity.start):
        shown = scored[: entity.start] + BLANK + scored[entity.end :].replace(entity.text, BLANK)
        asked = _with_further_question(record, f"{_QUESTION}\n\n{shown}") if fill else record
        start = _ids(asked.with_scored_text(scored[: entity.start].rstrip()), tokenizer, chat)
        whole = _ids(asked.with_scored_text(scored[: entity.end]), tokenizer, chat)
        # Where cutting the text changes how its end is tokenized, the model continues from before that place.
        pairs = zip(start, whole, strict=False)
        same = next((index for index, (first, second) in enumerate(pairs) if first != second), len(start))
        value = tokenizer.decode(whole[same:], skip_special_tokens=True)
        if same and value.strip():
            items.append(ClozeItem(number, whole[:same], len(whole) - same + _EXTRA_TOKENS, value))
    return items


def recovered_shares(items: Sequence[ClozeItem], recovered: Sequence[bool]) -> dict[int, float]:
    """The share of each record's items that were recovered, by the record's number."""
    by_record: dict[int, list[bool]] = {}
    for item, is_recovered in zip(items, recovered, strict=True):
        by_record.setdefault(item.record, []).append(is_recovered)
    return {record: sum(results) / len(results) for record, results in by_record.items()}


def _with_further_question(record: Record, question: str) -> Record:
    """The record with a question behind the one that it asks already, else as its prompt."""
    asked = f"{record.question}\n\n{question}" if record.question else question
    return record.with_question(asked if record.is_conversation else f"{asked}\n\n")


def _ids(record: Record, tokenizer: PreTrainedTokenizerBase, chat: Chat) -> list[int]:
    """A record's ids up to the end of its scored text, without the end-of-sequence token."""
    if not record.scored_text:
        return [] if record.is_plain_text else tokenize_record(record.with_scored_text("."), tokenizer, chat).prompt
    tokenized = tokenize_record(record, tokenizer, chat)
    answer, special = tokenized.answer, set(tokenizer.all_special_ids)
    while not record.is_plain_text and answer and answer[-1] in special:
        answer = answer[:-1]
    return tokenized.prompt + answer
