"""Tokenizes records and groups their chunks into batches. The record stays the unit, however it is cut."""

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
    """At most `max_length` tokens of one record."""

    ids: LongTensor  # (T,)
    scored: BoolTensor  # (T,) whether x_t is scored; never the first
    record: int  # its index among the records


@dataclass(frozen=True, eq=False)
class Batch:
    """Chunks, padded on the right. A position that is not scored is context or padding."""

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
    """Tokenizes the records in order, a long one into several chunks.

    Plain text: every token but the first is scored. Prompt and completion: each is tokenized by itself and the tokens
    are joined, so that the boundary is exact; the completion and the end-of-sequence token are scored. Messages: the
    last assistant turn is the answer. `template`: the conversation is tokenized as the tokenizer's chat template
    writes it, and the tokens that reach into the answer are scored, up to the end of the turn that the template writes
    (the end-of-sequence token where it writes none). `raw`: the earlier turns line by line, then the answer as a
    completion. `auto`: `template` for every record where the tokenizer has a template, else `raw`.
    Neighbouring chunks share one token, so that each scored token is scored once and has context.
    Raises CoreError `no_scored_tokens` with the record's number (from 1), `no_chat_template`, `bad_chat_template`,
    `no_end_token`.
    """
    chunks: list[Chunk] = []
    for number, (ids, first) in enumerate(_ids_and_first_scored(records, tokenizer, chat)):
        if len(ids) <= first:
            raise CoreError("no_scored_tokens", f"record {number + 1} is too short: it has no token to score")
        chunks.extend(_cut(ids, first, number, max_length))
    return chunks


def unscored_records(records: Sequence[Record], tokenizer: PreTrainedTokenizerBase, *, chat: Chat) -> list[int]:
    """Returns the indices of the records that have no token to score. Raises `encode`'s CoreErrors but
    `no_scored_tokens`."""
    tokenized = enumerate(_ids_and_first_scored(records, tokenizer, chat))
    return [index for index, (ids, first) in tokenized if len(ids) <= first]


def _ids_and_first_scored(
    records: Sequence[Record], tokenizer: PreTrainedTokenizerBase, chat: Chat
) -> Iterator[tuple[list[int], int]]:
    """Yields each record's token ids, and the position of its first scored token."""
    encoded = iter(_ids(tokenizer, [record.scored_text for record in records if record.is_plain_text]))
    reader = _Reader(tokenizer, chat)
    for record in records:
        if record.is_plain_text:
            yield next(encoded), 1
        else:
            parts = reader.tokenize(record)
            yield parts.prompt + parts.scored, max(1, len(parts.prompt))


def _ids(tokenizer: PreTrainedTokenizerBase, texts: list[str]) -> list[list[int]]:
    """Returns token ids with the tokenizer's own beginning token but without its end token: a text may go on."""
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
    """A record's token ids: the prompt, the answer that follows it, and the end of the answer's turn or sequence."""

    prompt: list[int]
    answer: list[int]
    end: list[int]

    @property
    def scored(self) -> list[int]:
        return self.answer + self.end


def tokenize_record(record: Record, tokenizer: PreTrainedTokenizerBase, chat: Chat) -> TokenizedRecord:
    """Tokenizes a record as prompt and answer. The first third of a plain text is its prompt.

    Raises CoreError `no_chat_template`, `bad_chat_template`, `no_end_token`.
    """
    if not record.is_plain_text:
        return _Reader(tokenizer, chat).tokenize(record)
    ids = _ids(tokenizer, [record.scored_text])[0]
    first = max(1, len(ids) // 3)
    return TokenizedRecord(ids[:first], ids[first:], [])


def chat_template(tokenizer: PreTrainedTokenizerBase) -> ChatTemplate | None:
    """Returns the tokenizer's chat template, among several the one named `default`; None where it has none."""
    templates = tokenizer.chat_template
    source = templates.get("default") if isinstance(templates, dict) else templates
    return ChatTemplate(source, tokenizer.special_tokens_map) if source else None


def message_template(tokenizer: PreTrainedTokenizerBase, chat: Chat) -> ChatTemplate | None:
    """Returns the template that writes `messages`; None: they are used as they stand.

    Raises CoreError `no_chat_template`.
    """
    template = None if chat == "raw" else chat_template(tokenizer)
    if template is None and chat == "template":
        raise CoreError("no_chat_template", "the model's tokenizer has no chat template: use chat 'raw'")
    return template


def turn_end_token(tokenizer: PreTrainedTokenizerBase) -> int | None:
    """Returns the one token by which the tokenizer's chat template ends an assistant's turn; None: there is none."""
    sample = Record(messages=[Message(role="user", content="a"), Message(role="assistant", content="b")])
    try:
        end = [] if chat_template(tokenizer) is None else tokenize_record(sample, tokenizer, "template").end
    except CoreError:  # a template that does not write these two turns
        return None
    return end[0] if len(end) == 1 else None


class _Reader:
    """Tokenizes records that have a prompt or messages, all with one tokenizer and one `chat`."""

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
        return TokenizedRecord(_ids(self._tokenizer, [prompt])[0], answer, [_end_token(self._tokenizer)])

    def _written(self, record: Record, template: ChatTemplate) -> TokenizedRecord:
        try:
            written = render_record(record, template)
        except Refusal as refused:
            message = f"the chat template {refused.reason}: mend the record, or use chat 'raw'"
            raise CoreError("bad_chat_template", message) from None
        if written.after not in self._ends:
            self._ends[written.after] = end_of_turn(written.after, self._tokenizer.added_tokens_encoder)
        end = self._ends[written.after]
        # Tokenized as one text, since tokenizers cut a word differently at the beginning of a text. A template's text
        # after the end of the turn is never generated, so it is left out.
        answered = written.context + written.answer
        texts = [written.context, answered, answered + end]
        context_ids, answered_ids, ids = self._tokenizer(texts, add_special_tokens=False)["input_ids"]
        first = common_prefix_length(context_ids, ids)
        if not end:
            return TokenizedRecord(answered_ids[:first], answered_ids[first:], [_end_token(self._tokenizer)])
        last = max(first, common_prefix_length(answered_ids, ids))
        return TokenizedRecord(ids[:first], ids[first:last], ids[last:])


def _end_token(tokenizer: PreTrainedTokenizerBase) -> int:
    if tokenizer.eos_token_id is None:
        message = "the tokenizer names no end-of-sequence token, and a completion is scored up to its end: name one in"
        raise CoreError("no_end_token", f"{message} tokenizer_config.json, or send plain text")
    return int(tokenizer.eos_token_id)


def _cut(ids: list[int], first: int, number: int, max_length: int) -> list[Chunk]:
    """Cuts a record into chunks that hold a scored token or more; `first` is the position of its first scored token."""
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
    """Returns the chunks as one batch of B = len(chunks) rows, padded on the right to the longest."""
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
    """Puts chunks behind each other in one row: ids (1, T), scored (1, T) bool, and the chunks' lengths, T together."""
    ids = torch.cat([chunk.ids for chunk in chunks])[None]
    scored = torch.cat([chunk.scored for chunk in chunks])[None]
    return ids, scored, tuple(len(chunk.ids) for chunk in chunks)


def packed_micro_batches(chunks: Sequence[Chunk], max_tokens: int) -> list[list[Chunk]]:
    """Returns the chunks, each once, longest first, in batches of at most `max_tokens` tokens without padding.

    A chunk longer than `max_tokens` is a batch of its own.
    """
    return bin_pack(chunks, lambda chunk: len(chunk.ids), max_tokens)


def bin_pack(items: Sequence[Item], size: Callable[[Item], int], limit: int) -> list[list[Item]]:
    """Returns the items, largest first, in bins of at most `limit`; a larger item alone. Deterministic."""
    bins: list[list[Item]] = []
    room = 0
    for item in sorted(items, key=lambda item: -size(item)):
        if not bins or size(item) > room:
            bins.append([])
            room = limit
        bins[-1].append(item)
        room -= size(item)
    return bins


def micro_batches(chunks: Sequence[Chunk], max_tokens: int) -> list[list[Chunk]]:
    """Returns the chunks, each once, in batches of at most `max_tokens` padded tokens, like lengths together.

    A chunk longer than `max_tokens` is a batch of its own.
    """
    return bucket_by_length(chunks, lambda chunk: (1, len(chunk.ids)), max_tokens)


def bucket_by_length(
    items: Sequence[Item], shape: Callable[[Item], tuple[int, int]], max_tokens: int
) -> list[list[Item]]:
    """Returns the items, of `shape` (rows, longest row), longest first, in batches of rows x longest <= max_tokens.

    Deterministic.
    """
    batches: list[list[Item]] = []
    rows = longest = 0
    for item in sorted(items, key=lambda item: -shape(item)[1]):
        height, width = shape(item)
        if not batches or (rows + height) * longest > max_tokens:
            batches.append([])
            rows, longest = 0, width
        batches[-1].append(item)
        rows += height
    return batches
