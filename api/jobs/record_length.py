"""Records to forget that are too short to train on, refused before the job is queued."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import structlog
from tokenizers import Tokenizer

from api.dependencies import Context
from api.http.problems import unprocessable
from api.jobs.chat_validation import MOST_BYTES, Used
from core.records.tables import ModelRow
from core.schema.bad_record import BadRecord
from core.schema.record import Record
from core.storage.store import StorageError
from core.storage.stored_records import stored_records

log = structlog.get_logger()

LONGEST_TOKEN = 32
"""Characters that no single token of a text in use exceeds: longer texts are not looked at."""


async def refuse(context: Context, files: Sequence[Used], model: ModelRow) -> None:
    """Problem (422, `record-too-short`): a plain text of the forget set has no token to score by the model's tokenizer.

    Looks at files of up to `MOST_BYTES`, and at none while as many requests as may read files do: the job looks at all
    of them when it starts.
    """
    for file in files:
        if file.name != "forget":
            continue
        candidates = await _short(context, file)
        number = await asyncio.to_thread(_unscored, candidates, model) if candidates else None
        if number is not None:
            detail = (
                f"record {number} of the forget set is too short to train on: it has no token that follows another;"
                " give it more of its context, or leave it out"
            )
            pointer = file.pointer if file.records is None else f"{file.pointer}/{number - 1}"
            raise unprocessable(pointer, detail, name="record-too-short")


async def _short(context: Context, file: Used) -> dict[int, str]:
    """Texts that may be a single token, by the number of their record, from 1."""
    if file.records is not None:
        return {number: text for number, record in enumerate(file.records, 1) if (text := _candidate(record))}
    if file.row.size > MOST_BYTES or context.file_readers.locked():
        return {}
    candidates, number = dict[int, str](), 0
    try:
        async with context.file_readers:
            async for record in stored_records(context.storage, file.row, context.service_key):
                number += 1
                if text := _candidate(record):
                    candidates[number] = text
    except (StorageError, BadRecord) as error:  # the job reads the file again when it starts, and ends with the reason
        log.warning("short_records_not_looked_for", file=file.row.id, error=type(error).__name__)
        return {}
    return candidates


def _candidate(record: Record) -> str | None:
    text = record.scored_text
    return text if record.is_plain_text and len(text) <= LONGEST_TOKEN and len(text.split()) == 1 else None


def _unscored(texts: dict[int, str], model: ModelRow) -> int | None:
    """The number of the first text without a scored token; None, too, where this process cannot read the tokenizer."""
    if model.directory is None:
        return None
    file = Path(model.directory, "tokenizer.json")
    if not file.is_file():
        return None
    try:
        tokenizer = Tokenizer.from_file(str(file))
    except Exception as error:  # noqa: BLE001 - the library has no class of errors of its own
        log.warning("tokenizer_not_read", model=model.id, error=type(error).__name__)
        return None
    return next((number for number, text in texts.items() if _scored(tokenizer, text) < 1), None)


def _scored(tokenizer: Tokenizer, text: str) -> int:
    """Tokens that follow another one; an end that the tokenizer adds is none of the text's (`core.lm.data`)."""
    bare = tokenizer.encode(text, add_special_tokens=False).ids
    whole = tokenizer.encode(text).ids
    starts = [place for place in range(len(whole) - len(bare) + 1) if whole[place : place + len(bare)] == bare]
    return (starts[0] if starts else 0) + len(bare) - 1 if bare else 0
