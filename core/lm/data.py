"""From records to padded batches of tokens. The record stays the unit, however it is cut."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import torch
from torch import BoolTensor, LongTensor, Tensor
from transformers import PreTrainedTokenizerBase

from core.lm.answer_span import common_prefix_length, end_of_turn, render_record
from core.lm.chat_template import ChatTemplate, Refusal
from core.lm.errors import CoreError
from core.schema.record import Message, Record
from core.schema.training import Chat

Item = TypeVar("Item")


@dataclass(frozen=True, eq=False)
class Chunk:
    """At most `max_length` tokens of one record. `scored[t]`: x_t is scored; never the first."""

    ids: LongTensor  # (T,)
    scored: BoolTensor  # (T,)
    record: int


@dataclass(frozen=True, eq=False)
class Batch:
    """Chunks, padded on the right. Every position but the scored ones is context or padding."""

    ids: Tensor  # (B, T)
    attention: Tensor  # (B, T) bool: not padding
    scored: Tensor  # (B, T) bool
    record: Tensor  # (B,)

    def to(self, device: torch.device) -> "Batch":
        return Batch(self.ids.to(device), self.attention.to(device), self.scored.to(device), self.record.to(device))


def encode(
    records: Sequence[Record],
    tokenizer: PreTrainedTokenizerBase,
    *,
    max_length: int,
    chat: Chat,
) -> list[Chunk]:
    """The records' tokens in order, longer ones in several chunks.

    Plain text: every token but the first is scored. Prompt and completion: each is tokenized by itself and joined as
    it stands, so that the boundary is exact; the completion and the end-of-sequence token are scored. Messages: the
    last assistant turn is the answer. By `template` the conversation is tokenized as the tokenizer's chat template
    writes it, and scored are the tokens that reach into the answer, up to the end of the turn that the template writes
    (the end-of-sequence token where it writes none); `raw`: the earlier turns line by line, then as a completion.
    `auto` is `template` where the tokenizer has one, for every record, else `raw`.
    Neighbouring chunks share one token, so that each scored token is scored once and has context.
    Raises CoreError `no_scored_tokens` with the record's number (from 1), `no_chat_template`, `bad_chat_template`,
    `no_end_token`.
    """
    chunks: list[Chunk] = []
    for number, (ids, first) in enumerate(_whole(records, tokenizer, chat)):
        if len(ids) <= first:
            raise CoreError("no_scored_tokens", f"record {number + 1} is too short: it has no token to score")
        chunks.extend(_cut(ids, first, number, max_length))
    return chunks


def unscored_records(records: Sequence[Record], tokenizer: PreTrainedTokenizerBase, *, chat: Chat) -> list[int]:
    """The places of the records that have no token to score. Raises CoreError as `encode` does, but for these."""
    return [place for place, (ids, first) in enumerate(_whole(records, tokenizer, chat)) if len(ids) <= first]


def _whole(
    records: Sequence[Record], tokenizer: PreTrainedTokenizerBase, chat: Chat
) -> Iterator[tuple[list[int], int]]:
    """Each record's token ids, and the place of the first scored one."""
    encoded = iter(_ids(tokenizer, [record.scored_text for record in records if record.is_plain_text]))
    reader = _Reader(tokenizer, chat)
    for record in records:
        if record.is_plain_text:
            yield next(encoded), 1
        else:
            parts = reader.tokenize(record)
            yield parts.prompt + parts.scored, max(1, len(parts.prompt))


def _ids(tokenizer: PreTrainedTokenizerBase, texts: list[str]) -> list[list[int]]:
    """Token ids with the tokenizer's own beginning, but without an end: a text's end is not known to be one."""
    if not texts:
        return []
    bare: list[list[int]] = tokenizer(texts, add_special_tokens=False, return_attention_mask=False)["input_ids"]
    full: list[list[int]] = tokenizer(texts, return_attention_mask=False)["input_ids"]
    return [
        ids[:-1] if _end_added(ids, plain, tokenizer.eos_token_id) else ids
        for ids, plain in zip(full, bare, strict=True)
    ]


def _end_added(ids: list[int], bare: list[int], end: int | None) -> bool:
    if not ids or ids[-1] != end:
        return False
    return ids[-len(bare) :] != bare if bare else len(ids) > 1


@dataclass(frozen=True)
class TokenizedRecord:
    """A record's token ids: what a continuation starts from, what follows it, and what only ends that."""

    prompt: list[int]
    answer: list[int]
    end: list[int]

    @property
    def scored(self) -> list[int]:
        return self.answer + self.end


def tokenize_record(record: Record, tokenizer: PreTrainedTokenizerBase, chat: Chat) -> TokenizedRecord:
    """A record in two; of a plain text its first third, and its rest.

    Raises CoreError `no_chat_template`, `bad_chat_template`, `no_end_token`.
    """
    if not record.is_plain_text:
        return _Reader(tokenizer, chat).tokenize(record)
    ids = _ids(tokenizer, [record.scored_text])[0]
    first = max(1, len(ids) // 3)
    return TokenizedRecord(ids[:first], ids[first:], [])


def chat_template(tokenizer: PreTrainedTokenizerBase) -> ChatTemplate | None:
    """The tokenizer's chat template, of several the one named `default`; None where it has none."""
    templates = tokenizer.chat_template
    source = templates.get("default") if isinstance(templates, dict) else templates
    return ChatTemplate(source, tokenizer.special_tokens_map) if source else None


def message_template(tokenizer: PreTrainedTokenizerBase, chat: Chat) -> ChatTemplate | None:
    """What `messages` are written by; None: as they stand. Raises CoreError `no_chat_template`."""
    template = None if chat == "raw" else chat_template(tokenizer)
    if template is None and chat == "template":
        raise CoreError("no_chat_template", "the model's tokenizer has no chat template: use chat 'raw'")
    return template


def turn_end_token(tokenizer: PreTrainedTokenizerBase) -> int | None:
    """The one token by which the tokenizer's chat template ends an assistant's turn; None where there is none."""
    asked = Record(messages=[Message(role="user", content="a"), Message(role="assistant", content="b")])
    try:
        end = [] if chat_template(tokenizer) is None else tokenize_record(asked, tokenizer, "template").end
    except CoreError:  # a template that does not write these two turns
        return None
    return end[0] if len(end) == 1 else None


class _Reader:
    """Reads records that have a prompt or messages, by one tokenizer in one way."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, chat: Chat) -> None:
        self._tokenizer, self._chat = tokenizer, chat
        self._ends: dict[str, str] = {}

    @cached_property
    def _template(self) -> ChatTemplate | None:
        return message_template(self._tokenizer, self._chat)

    def tokenize(self, record: Record) -> TokenizedRecord:
        if record.is_conversation and self._template is not None:
            return self._written(record, self._template)
        return self._joined(record.raw_prompt, record.scored_text)

    def _joined(self, prompt: str, completion: str) -> TokenizedRecord:
        answer: list[int] = self._tokenizer(completion, add_special_tokens=False)["input_ids"]
        return TokenizedRecord(_ids(self._tokenizer, [prompt])[0], answer, [_end(self._tokenizer)])

    def _written(self, record: Record, template: ChatTemplate) -> TokenizedRecord:
        try:
            written = render_record(record, template)
        except Refusal as refused:
            message = f"the chat template {refused.reason}: mend the record, or use chat 'raw'"
            raise CoreError("bad_chat_template", message) from None
        if written.after not in self._ends:
            self._ends[written.after] = end_of_turn(written.after, self._tokenizer.added_tokens_encoder)
        end = self._ends[written.after]
        # As one text, for tokenizers write a word differently at a text's beginning; but what a template writes after
        # the end of the turn is never generated, so it is left out.
        spoken = written.context + written.answer
        texts = [written.context, spoken, spoken + end]
        context, answered, whole = self._tokenizer(texts, add_special_tokens=False)["input_ids"]
        first = common_prefix_length(context, whole)
        if not end:
            return TokenizedRecord(answered[:first], answered[first:], [_end(self._tokenizer)])
        last = max(first, common_prefix_length(answered, whole))
        return TokenizedRecord(whole[:first], whole[first:last], whole[last:])


def _end(tokenizer: PreTrainedTokenizerBase) -> int:
    if tokenizer.eos_token_id is None:
        message = "the tokenizer names no end-of-sequence token, and a completion is scored up to its end: name one in"
        raise CoreError("no_end_token", f"{message} tokenizer_config.json, or send plain text")
    return int(tokenizer.eos_token_id)


def _cut(ids: list[int], first: int, number: int, max_length: int) -> list[Chunk]:
    """Chunks that hold at least one scored token; `first` is the position of the record's first scored token."""
    tokens = torch.tensor(ids, dtype=torch.long)
    scored = torch.arange(len(ids)) >= first
    chunks = []
    for start in range(0, max(1, len(ids) - 1), max_length - 1):
        part = scored[start : start + max_length].clone()
        part[0] = False
        if part.any():
            chunks.append(Chunk(LongTensor(tokens[start : start + max_length]), BoolTensor(part), number))
    return chunks


def pad(chunks: Sequence[Chunk], pad_id: int) -> Batch:
    """Chunks as one batch of B = len(chunks) rows, padded on the right to the longest."""
    longest = max(len(chunk.ids) for chunk in chunks)
    ids = torch.full((len(chunks), longest), pad_id, dtype=torch.long)
    attention = torch.zeros((len(chunks), longest), dtype=torch.bool)
    scored = torch.zeros((len(chunks), longest), dtype=torch.bool)
    for row, chunk in enumerate(chunks):
        ids[row, : len(chunk.ids)] = chunk.ids
        attention[row, : len(chunk.ids)] = True
        scored[row, : len(chunk.ids)] = chunk.scored
    return Batch(ids, attention, scored, torch.tensor([chunk.record for chunk in chunks]))


def pack(chunks: Sequence[Chunk]) -> tuple[Tensor, Tensor, tuple[int, ...]]:
    """Chunks behind each other in one row: ids (1, T), scored (1, T) bool, and each one's length; they sum to T."""
    ids = torch.cat([chunk.ids for chunk in chunks])[None]
    scored = torch.cat([chunk.scored for chunk in chunks])[None]
    return ids, scored, tuple(len(chunk.ids) for chunk in chunks)


def packed_micro_batches(chunks: Sequence[Chunk], max_tokens: int) -> list[list[Chunk]]:
    """The chunks, each once, in lists of at most `max_tokens` tokens, the longest first; a longer one by itself."""
    return bin_pack(chunks, lambda chunk: len(chunk.ids), max_tokens)


def bin_pack(items: Sequence[Item], size: Callable[[Item], int], limit: int) -> list[list[Item]]:
    """Items, largest first, in lists of at most `limit`; a larger one by itself; deterministic."""
    lists: list[list[Item]] = []
    room = 0
    for item in sorted(items, key=lambda one: -size(one)):
        if not lists or size(item) > room:
            lists.append([])
            room = limit
        lists[-1].append(item)
        room -= size(item)
    return lists


def micro_batches(chunks: Sequence[Chunk], max_tokens: int) -> list[list[Chunk]]:
    """The chunks, each once, in batches of at most `max_tokens` padded tokens, like lengths together.

    A chunk longer than `max_tokens` is a batch of its own.
    """
    return bucket_by_length(chunks, lambda chunk: (1, len(chunk.ids)), max_tokens)


def bucket_by_length(
    items: Sequence[Item], shape: Callable[[Item], tuple[int, int]], max_tokens: int
) -> list[list[Item]]:
    """Items of `shape` (rows, longest row) in batches of rows x longest <= max_tokens, longest first; deterministic."""
    batches: list[list[Item]] = []
    rows = longest = 0
    for item in sorted(items, key=lambda one: -shape(one)[1]):
        height, width = shape(item)
        if not batches or (rows + height) * longest > max_tokens:
            batches.append([])
            rows, longest = 0, width
        batches[-1].append(item)
        rows += height
    return batches
