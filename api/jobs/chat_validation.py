"""Checks, before a job is queued, that the model's chat template renders the messages of its records."""

import asyncio
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any, NamedTuple

from api.dependencies import Context
from api.http.problems import unprocessable
from api.jobs.job_files import JobFile
from api.jobs.job_warnings import warning
from core.lm.answer_span import check_record
from core.lm.chat_template import ChatTemplate, Refusal, template_in
from core.records.tables import FileRow, ModelRow
from core.schema.bad_record import BadRecord
from core.schema.file_kind import COLUMNAR_FORMATS, detect_file_kind
from core.schema.files import file_label
from core.schema.record import Record
from core.schema.training import Chat
from core.storage.store import StorageError
from core.storage.stored_records import stored_records

MOST_BYTES = 8 << 20
MOST_SECONDS = 3.0
"""Limits on rendering the files of one request. The job renders the rest when it starts, and a record that the template
refuses then ends the job with the same message."""

_BATCH_RECORDS = 64
_NO_TEMPLATE = "the model's tokenizer has no chat template: choose 'raw' or 'auto'"


class _Refusal(NamedTuple):
    """The number of a record, counted from 1, and the reason why the template does not render it."""

    number: int
    reason: str


class ChatValidation:
    """The files of one request. `option` is a JSON pointer to the field of the request that chooses `chat`."""

    def __init__(self, context: Context, files: Sequence[JobFile], *, option: str) -> None:
        self._context, self._files, self._option = context, files, option
        self._set_names = [file.set_name for file in files]
        self._bytes_left = MOST_BYTES
        self._deadline = time.monotonic() + MOST_SECONDS

    async def check(self, model: ModelRow, chat: Chat, *, only_measures: bool = False) -> list[dict[str, Any]]:
        """Renders the messages by the model's chat template, up to MOST_BYTES and MOST_SECONDS; returns warnings.

        With `raw`, a job that only measures renders nothing. Other jobs measure by the template even then, and a record
        that it refuses gives a warning. Problem (422): the template refuses a record (`chat-template-refuses`), or
        there is no template (`no-chat-template`).
        """
        template = await asyncio.to_thread(_read_template, model)
        if (chat == "raw" and only_measures) or (template is None and chat != "template"):
            return []
        not_rendered: list[str] = []
        for index, file in enumerate(self._files):
            label = file_label(self._set_names, index)
            if self._context.file_readers.locked() and file.records is None:
                not_rendered.append(label)
                continue
            async with self._context.file_readers:
                refusal, complete = await self._find_refusal(file, template)
            if refusal is not None:
                return [self._report(file, f"{label}: record {refusal.number}: {refusal.reason}", refusal.number, chat)]
            if not complete:
                not_rendered.append(label)
        if not not_rendered:
            return []
        return [
            warning(
                "not_all_rendered",
                f"{', '.join(not_rendered)}: too much to render now; a record that the chat template refuses ends the"
                " job at its start",
            )
        ]

    async def _find_refusal(self, file: JobFile, template: ChatTemplate | None) -> tuple[_Refusal | None, bool]:
        """Returns the first refused record of the file, and whether the check is complete.

        A check that reached a limit counts as complete, too, if none of the records that it read had messages.
        """
        number, may_have_messages = 0, _is_read_whole(file.row)
        async with aclosing(self._batches(file)) as batches:
            async for batch in batches:
                if batch is None:
                    return None, not may_have_messages
                may_have_messages = may_have_messages or any(record.is_conversation for record in batch)
                refusal = await asyncio.to_thread(_first_refusal, batch, template)
                if refusal is not None:
                    return _Refusal(number + refusal.number, refusal.reason), True
                number += len(batch)
        return None, True

    async def _batches(self, file: JobFile) -> AsyncGenerator[list[Record] | None, None]:
        """Yields the records in batches. Yields None and ends at a limit, and where the file cannot be read, which the
        job will report."""
        if file.records is not None:
            yield list(file.records)
            return
        batch: list[Record] = []
        if _is_read_whole(file.row) and file.row.size > self._bytes_left:
            yield None
            return
        try:
            async for record in stored_records(self._context.storage, file.row, self._context.file_keys):
                batch.append(record)
                self._bytes_left -= sum(map(len, record.all_texts()))
                at_limit = self._bytes_left < 0 or time.monotonic() > self._deadline
                if at_limit or len(batch) == _BATCH_RECORDS:
                    yield batch
                    batch = []
                if at_limit:
                    yield None
                    return
        except (StorageError, BadRecord):
            yield None
            return
        yield batch

    def _report(self, file: JobFile, message: str, number: int, chat: Chat) -> dict[str, Any]:
        """Returns a warning for a job that does not train by the template; raises Problem for any other job."""
        if chat == "raw":
            return warning(
                "measured_raw",
                f"{message}: all messages are measured turn by turn, which is not how the model is asked",
            )
        if message.endswith(_NO_TEMPLATE):
            raise unprocessable(self._option, message, name="no-chat-template")
        option = self._option.removeprefix("/").replace("/", ".")
        advice = (
            f"mend the record, leave it out, or choose {option} 'raw', which reads all records without the template"
        )
        pointer = file.pointer if file.records is None else f"{file.pointer}/{number - 1}"
        raise unprocessable(pointer, f"{message}: {advice}", name="chat-template-refuses")


def _is_read_whole(file: FileRow) -> bool:
    """Returns whether reading one record takes all into memory, as with columnar and compressed files."""
    return detect_file_kind(file.filename).is_read_whole() or file.format in COLUMNAR_FORMATS


def _read_template(model: ModelRow) -> ChatTemplate | None:
    """Returns the chat template; None also where this process cannot read the model's files, which the job can."""
    try:
        return None if model.directory is None else template_in(Path(model.directory))
    except (OSError, ValueError):
        return None


def _first_refusal(records: Sequence[Record], template: ChatTemplate | None) -> _Refusal | None:
    for number, record in enumerate(records, start=1):
        if not record.is_conversation:
            continue
        if template is None:
            return _Refusal(number, _NO_TEMPLATE)
        try:
            check_record(record, template)
        except Refusal as refusal:
            return _Refusal(number, f"the chat template {refusal.reason}")
    return None
