"""Refuses forget records that are too short to train on, before the job is queued."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import structlog
from tokenizers import Tokenizer

from api.dependencies import Context
from api.http.problems import unprocessable
from api.jobs.chat_validation import MOST_BYTES
from api.jobs.job_files import JobFile
from core.records.tables import ModelRow
from core.schema.bad_record import BadRecord
from core.schema.record import Record
from core.storage.store import StorageError
from core.storage.stored_records import stored_records

log = structlog.get_logger()

LONGEST_TOKEN = 32
"""Characters. No token of a tokenizer in use is longer, so longer texts are not checked."""


async def check_record_lengths(context: Context, files: Sequence[JobFile], model: ModelRow) -> None:
    """Problem (422, `record-too-short`): a plain text of the forget set has no token to score by the model's tokenizer.

    Checks files of up to `MOST_BYTES`, and none while as many requests read files as may do so: the job checks all of
    them when it starts.
    """
    for file in files:
        if file.set_name != "forget":
            continue
        candidates = await _short_texts(context, file)
        number = await asyncio.to_thread(_first_unscored, candidates, model) if candidates else None
        if number is not None:
            detail = (
                f"record {number} of the forget set is too short to train on: it has no token that follows another;"
                " give it more of its context, or leave it out"
            )
            pointer = file.pointer if file.records is None else f"{file.pointer}/{number - 1}"
            raise unprocessable(pointer, detail, name="record-too-short")


async def _short_texts(context: Context, file: JobFile) -> dict[int, str]:
    """Returns texts that may be a single token, by the number of their record, from 1."""
    if file.records is not None:
        return {number: text for number, record in enumerate(file.records, 1) if (text := _short_text(record))}
    if file.row.size > MOST_BYTES or context.file_readers.locked():
        return {}
    texts, number = dict[int, str](), 0
    try:
        async with context.file_readers:
            async for record in stored_records(context.storage, file.row, context.file_keys):
                number += 1
                if text := _short_text(record):
                    texts[number] = text
    except (StorageError, BadRecord) as error:  # the job reads the file again when it starts, and ends with the reason
        log.warning("short_records_not_looked_for", file=file.row.id, error=type(error).__name__)
        return {}
    return texts


def _short_text(record: Record) -> str | None:
    text = record.scored_text
    return text if record.is_plain_text and len(text) <= LONGEST_TOKEN and len(text.split()) == 1 else None


def _first_unscored(texts: dict[int, str], model: ModelRow) -> int | None:
    """Returns the number of the first text without a scored token; None also where the tokenizer cannot be read."""
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
    return next((number for number, text in texts.items() if _scored_tokens(tokenizer, text) < 1), None)


def _scored_tokens(tokenizer: Tokenizer, text: str) -> int:
    """Counts the text's tokens that follow another token; an end token that the tokenizer adds is not of the text
    (`core.lm.data`)."""
    text_ids = tokenizer.encode(text, add_special_tokens=False).ids
    all_ids = tokenizer.encode(text).ids
    starts = [
        start for start in range(len(all_ids) - len(text_ids) + 1) if all_ids[start : start + len(text_ids)] == text_ids
    ]
    return (starts[0] if starts else 0) + len(text_ids) - 1 if text_ids else 0
