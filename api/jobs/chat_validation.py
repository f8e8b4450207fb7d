"""The messages of a job's records, held against the model's chat template before the job is queued."""

import asyncio
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from api.dependencies import Context
from api.http.problems import unprocessable
from core.lm.answer_span import check_record
from core.lm.chat_template import ChatTemplate, Refusal, template_in
from core.records.tables import FileRow, ModelRow
from core.schema.bad_record import BadRecord
from core.schema.file_kind import COLUMNAR_FORMATS, detect_file_kind
from core.schema.files import file_label
from core.schema.jobs import JobWarning
from core.schema.record import Record
from core.schema.training import Chat
from core.storage.store import StorageError
from core.storage.stored_records import stored_records

MOST_BYTES = 8 << 20
MOST_SECONDS = 3.0
"""Limits on rendering the files of one request. The job renders the rest when it starts, and a record that the template
refuses then ends the job with the same message."""

_AT_ONCE = 64
_NO_TEMPLATE = "the model's tokenizer has no chat template: choose 'raw' or 'auto'"


@dataclass(frozen=True)
class Used:
    """A file of a job: its set, where the request names it, and its records where they came with the request."""

    name: str
    pointer: str
    row: FileRow
    records: Sequence[Record] | None = None


class ChatValidation:
    """The files of one request. `option` points to where it chooses `chat`."""

    def __init__(self, context: Context, files: Sequence[Used], *, option: str) -> None:
        self._context, self._files, self._option = context, files, option
        self._names = [file.name for file in files]
        self._bytes = MOST_BYTES
        self._deadline = time.monotonic() + MOST_SECONDS

    async def hold(self, model: ModelRow, chat: Chat, *, measures: bool = False) -> list[dict[str, Any]]:
        """Renders the messages by the model's chat template, as far as MOST_BYTES and MOST_SECONDS go; warnings.

        By `raw` nothing is rendered for a job that only `measures`; another one is measured by the template, unless
        that refuses a record, which is a warning then. Problem (422): the template does not write a record
        (`chat-template-refuses`), or there is none (`no-chat-template`).
        """
        template = await asyncio.to_thread(_template, model)
        if (chat == "raw" and measures) or (template is None and chat != "template"):
            return []
        left: list[str] = []
        for place, file in enumerate(self._files):
            if self._context.file_readers.locked() and file.records is None:
                left.append(file_label(self._names, place))
                continue
            async with self._context.file_readers:
                refused, whole = await self._refused(file, template)
            if refused is not None:
                number, reason = refused
                return [self._told(file, f"{file_label(self._names, place)}: record {number}: {reason}", number, chat)]
            if not whole:
                left.append(file_label(self._names, place))
        if not left:
            return []
        message = f"{', '.join(left)}: too much to render now; a record that the chat template refuses ends the job at"
        message += " its start"
        return [JobWarning(code="not_all_rendered", message=message).model_dump()]

    async def _refused(self, file: Used, template: ChatTemplate | None) -> tuple[tuple[int, str] | None, bool]:
        """The number of the first record that the template does not write, and why; whether all were looked at, or at
        least none that was had messages."""
        number, talks = 0, _is_read_whole(file.row)
        async with aclosing(self._batches(file)) as batches:
            async for batch in batches:
                if batch is None:
                    return None, not talks
                talks = talks or any(record.is_conversation for record in batch)
                refused = await asyncio.to_thread(_refusal, batch, template)
                if refused is not None:
                    return (number + refused[0], refused[1]), True
                number += len(batch)
        return None, True

    async def _batches(self, file: Used) -> AsyncGenerator[list[Record] | None, None]:
        """The records, some at a time; None for what is beyond the limits or cannot be read, which the job will say."""
        if file.records is not None:
            yield list(file.records)
            return
        batch: list[Record] = []
        if _is_read_whole(file.row) and file.row.size > self._bytes:
            yield None
            return
        try:
            async for record in stored_records(self._context.storage, file.row, self._context.service_key):
                batch.append(record)
                self._bytes -= sum(map(len, record.all_texts()))
                over = self._bytes < 0 or time.monotonic() > self._deadline
                if over or len(batch) == _AT_ONCE:
                    yield batch
                    batch = []
                if over:
                    yield None
                    return
        except (StorageError, BadRecord):
            yield None
            return
        yield batch

    def _told(self, file: Used, what: str, number: int, chat: Chat) -> dict[str, Any]:
        """The warning of a job that does not train by the template; Problem of any other."""
        if chat == "raw":
            message = f"{what}: all messages are measured turn by turn, which is not how the model is asked"
            return JobWarning(code="measured_raw", message=message).model_dump()
        if what.endswith(_NO_TEMPLATE):
            raise unprocessable(self._option, what, name="no-chat-template")
        option = self._option.removeprefix("/").replace("/", ".")
        advice = (
            f"mend the record, leave it out, or choose {option} 'raw', which reads all records without the template"
        )
        pointer = file.pointer if file.records is None else f"{file.pointer}/{number - 1}"
        raise unprocessable(pointer, f"{what}: {advice}", name="chat-template-refuses")


def _is_read_whole(file: FileRow) -> bool:
    """Whether reading the first record takes all of them into memory: of columnar and compressed files it does."""
    return detect_file_kind(file.filename).is_read_whole() or file.format in COLUMNAR_FORMATS


def _template(model: ModelRow) -> ChatTemplate | None:
    """None, too, where this process cannot read the model's files: the job can."""
    try:
        return None if model.directory is None else template_in(Path(model.directory))
    except (OSError, ValueError):
        return None


def _refusal(records: Sequence[Record], template: ChatTemplate | None) -> tuple[int, str] | None:
    """The first record that is not written, counted from 1, and why."""
    for number, record in enumerate(records, start=1):
        if not record.is_conversation:
            continue
        if template is None:
            return number, _NO_TEMPLATE
        try:
            check_record(record, template)
        except Refusal as refusal:
            return number, f"the chat template {refusal.reason}"
    return None
