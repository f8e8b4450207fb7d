"""From records to padded batches of tokens. The record stays the unit, however it is cut."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from jinja2 import TemplateError
from torch import BoolTensor, LongTensor, Tensor
from transformers import PreTrainedTokenizerBase

from core.lm.errors import CoreError
from core.schema.files import Record
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
    it stands, so that the boundary is exact; the completion and the end-of-sequence token are scored. Messages:
    the last assistant turn is the completion; what is before it comes from the chat template (`template`) or is the
    earlier turns line by line (`raw`); `auto` is the template where there is one that writes the record, else raw.
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


def unscored(records: Sequence[Record], tokenizer: PreTrainedTokenizerBase, *, chat: Chat) -> list[int]:
    """The places of the records that have no token to score. Raises CoreError as `encode` does, but for these."""
    return [place for place, (ids, first) in enumerate(_whole(records, tokenizer, chat)) if len(ids) <= first]


def _whole(
    records: Sequence[Record], tokenizer: PreTrainedTokenizerBase, chat: Chat
) -> Iterator[tuple[list[int], int]]:
    """Each record's token ids, and the place of the first scored one."""
    encoded = iter(_ids(tokenizer, [record.text for record in records if record.text is not None]))
    for record in records:
        if record.text is not None:
            yield next(encoded), 1
        else:
            prompt, completion = _halves(record, tokenizer, chat)
            yield prompt + completion, max(1, len(prompt))


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


def halves(record: Record, tokenizer: PreTrainedTokenizerBase, chat: Chat) -> tuple[list[int], list[int]]:
    """(what a continuation starts from, what follows it) in token ids; a plain text's first third, and its rest.

    Raises CoreError `no_chat_template`, `bad_chat_template`.
    """
    if record.text is None:
        return _halves(record, tokenizer, chat)
    ids = _ids(tokenizer, [record.text])[0]
    first = max(1, len(ids) // 3)
    return ids[:first], ids[first:]


def _halves(record: Record, tokenizer: PreTrainedTokenizerBase, chat: Chat) -> tuple[list[int], list[int]]:
    """(context ids, scored ids) of a record that has a completion."""
    if record.messages is not None and (chat == "template" or (chat == "auto" and tokenizer.chat_template)):
        try:
            return _templated(record, tokenizer)
        except CoreError as error:
            if chat == "template" or error.code != "bad_chat_template":
                raise
    if record.messages is not None:
        prompt = "".join(f"{message.content}\n" for message in record.messages[:-1])
        completion = record.messages[-1].content
    else:
        prompt, completion = record.prompt or "", record.completion or ""
    scored: list[int] = tokenizer(completion, add_special_tokens=False)["input_ids"]
    return _ids(tokenizer, [prompt])[0], _ended(scored, tokenizer)


def _templated(record: Record, tokenizer: PreTrainedTokenizerBase) -> tuple[list[int], list[int]]:
    if tokenizer.chat_template is None:
        raise CoreError("no_chat_template", "the model's tokenizer has no chat template: use chat 'raw'")
    turns: list[dict[str, Any]] = [message.model_dump() for message in record.messages or []]
    try:
        whole: str = tokenizer.apply_chat_template(turns, tokenize=False)
        prompt = ""
        if len(turns) > 1:
            prompt = tokenizer.apply_chat_template(turns[:-1], tokenize=False, add_generation_prompt=True)
    except TemplateError:  # whose words may be the record's
        raise CoreError("bad_chat_template", "the chat template refuses a record's turns: use 'raw'") from None
    if not whole.startswith(prompt):
        raise CoreError(
            "bad_chat_template", "the chat template writes earlier turns differently once the answer follows: use 'raw'"
        )
    context: list[int] = tokenizer(prompt, add_special_tokens=False)["input_ids"]
    # What a template writes after the end-of-turn token is never generated, so it is not scored.
    scored: list[int] = tokenizer(whole[len(prompt) :].rstrip(), add_special_tokens=False)["input_ids"]
    return context, scored if scored and scored[-1] in tokenizer.all_special_ids else _ended(scored, tokenizer)


def _ended(ids: list[int], tokenizer: PreTrainedTokenizerBase) -> list[int]:
    if tokenizer.eos_token_id is None:
        message = "the tokenizer names no end-of-sequence token, and a completion is scored up to its end: name one in"
        raise CoreError("no_end_token", f"{message} tokenizer_config.json, or send plain text")
    return [*ids, tokenizer.eos_token_id]


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


def packs(chunks: Sequence[Chunk], max_tokens: int) -> list[list[Chunk]]:
    """The chunks, each once, in lists of at most `max_tokens` tokens, the longest first; a longer one by itself."""
    return filled(chunks, lambda chunk: len(chunk.ids), max_tokens)


def filled(items: Sequence[Item], size: Callable[[Item], int], limit: int) -> list[list[Item]]:
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
    return bucketed(chunks, lambda chunk: (1, len(chunk.ids)), max_tokens)


def bucketed(items: Sequence[Item], shape: Callable[[Item], tuple[int, int]], max_tokens: int) -> list[list[Item]]:
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
