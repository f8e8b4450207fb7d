"""Forget records in the body of a request: checked, stored encrypted as a file, and deleted where the request fails."""

import hashlib
from collections.abc import AsyncIterator

from sqlalchemy.ext.asyncio import AsyncSession

from api.auth import Caller
from api.dependencies import Context
from api.http.problems import unprocessable
from core.records import files
from core.records.jobs import FileUse
from core.records.tables import FileRow
from core.schema.ids import new_id
from core.schema.job_sources import ForgetSource
from core.schema.jobs import Origin, SetUsed
from core.schema.record import Record
from core.storage.uploads import discard_upload, storage_key, store_upload

MAX_INLINE_BYTES = 1_000_000


def check_inline_records(source: ForgetSource | None, *, max_record_bytes: int) -> list[Record]:
    """Returns the forget records of the request. Problem (422): they are too large."""
    records, total = source.inline_records() if source else [], 0
    for number, record in enumerate(records):
        size = sum(len(text.encode()) for text in record.all_texts())
        total += size
        if size > max_record_bytes:
            detail = f"the record is over the limit of {max_record_bytes} bytes"
            raise unprocessable(f"/forget/records/{number}", detail, name="record-too-large")
    if total > MAX_INLINE_BYTES:
        detail = f"the records are over the limit of {MAX_INLINE_BYTES} bytes: upload them as a file"
        raise unprocessable("/forget/records", detail, name="records-too-large")
    return records


class InlineRecords:
    """The inline `records` of a request; `file` is the id of the file that stores them, None where there are none."""

    def __init__(self, context: Context, caller: Caller, source: ForgetSource | None) -> None:
        self._context, self._caller = context, caller
        self.records = check_inline_records(source, max_record_bytes=context.settings.max_record_bytes)
        self.file = new_id("file") if self.records else None

    async def add(self, session: AsyncSession, uses: list[FileUse], rows: dict[str, FileRow]) -> None:
        """Stores the records, if there are any, and inserts their file before the job's other files."""
        if self.file is not None:
            uses.insert(0, FileUse(self.file, "forget"))
            rows[self.file] = await self._store(session, self.file)

    async def discard(self) -> None:
        """After a failure: deletes the records' bytes, unless the job was written after all."""
        if self.file is None:
            return
        async with self._context.sessions() as session:
            if await files.get(session, self._caller.organisation, self.file) is None:
                await discard_upload(self._context.storage, self.file, self._context.file_keys)

    def describe(self, use: FileUse, row: FileRow, *, origin: Origin = "request") -> SetUsed:
        """Returns a file of the job as the API shows it; inline records show neither an id nor a digest."""
        is_inline = row.id == self.file
        return SetUsed.model_validate(
            {
                "name": use.name,
                "file": None if is_inline else row.id,
                "kind": use.kind,
                "weight": use.weight if use.name == "retain" else None,
                "part": use.part,
                "records": row.records,
                "sha256": None if is_inline else row.sha256,
                "origin": origin,
            }
        )

    async def _store(self, session: AsyncSession, file: str) -> FileRow:
        lines = "".join(record.to_json() + "\n" for record in self.records).encode()

        async def chunks() -> AsyncIterator[bytes]:
            yield lines

        row = FileRow(
            id=file,
            organisation=self._caller.organisation,
            purpose="forget",
            filename="inline.jsonl",
            format="jsonl",
            size=len(lines),
            sha256=hashlib.sha256(lines).hexdigest(),
            records=len(self.records),
            storage_key=storage_key(file),
            wrapped_key=await store_upload(self._context.storage, file, chunks(), self._context.file_keys),
        )
        await files.add(session, row, lifetime=self._context.settings.retention)
        return row
