"""Serves the child its records: decrypted on the way, over a Unix socket, to one connection that knows the token."""

import asyncio
import hmac
import json
import logging
import os
import socket
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

from core.records.earlier_requests import StoredRequest
from core.records.retry import is_transient
from core.records.tables import FileRow, JobFile
from core.schema.bad_record import BadRecord
from core.schema.previously_forgotten import records_of_each
from core.schema.record import Record
from core.schema.record_sample import RecordSample
from core.storage import NotStored, Storage
from core.storage.file_keys import FileKeys, KeyDestroyed
from core.storage.record_digests import DigestSet, record_digest
from core.storage.sealed import SealBroken
from core.storage.stored_records import stored_records
from worker.assignment import JobFiles
from worker.failure import AttemptFailed, service_failure
from worker.log import LOGGER, error_fields

log = logging.getLogger(LOGGER)

_TOKEN_BYTES = 256
_TOKEN_SECONDS = 30.0
_BUFFER_BYTES = 256 << 10


class RecordServer:
    """Serves an attempt's sets once, inside `async with`. `wait_sent` returns, or raises, when that is over."""

    def __init__(
        self,
        path: Path,
        token: str,
        sets: JobFiles,
        *,
        storage: Storage,
        keys: FileKeys,
        earlier: Sequence[StoredRequest] = (),
    ) -> None:
        """`earlier` are requests whose records are served as well, as far as their text is stored."""
        self._path = path
        self._token = token.encode()
        self._sets = sets
        self._earlier = earlier
        self._storage = storage
        self._keys = keys
        self._sent: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._connected = False
        self._forgotten = DigestSet(stored.digests for stored in earlier if stored.digests is not None)
        self._digests: dict[str, bytearray] = {}

    @property
    def forget_digests(self) -> dict[str, bytes]:
        """The digests of the records to forget, by job, as far as they were sent."""
        return {job: bytes(digests) for job, digests in self._digests.items()}

    async def __aenter__(self) -> Self:
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            listener.bind(str(self._path))  # in a folder that is private already
            os.chmod(self._path, 0o600)
            self._server = await asyncio.start_unix_server(self._answer, sock=listener, limit=_TOKEN_BYTES)
        except BaseException:
            listener.close()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        self._path.unlink(missing_ok=True)
        self._sent.cancel()

    async def wait_sent(self) -> None:
        """Waits until the child has all its records. Raises AttemptFailed where they cannot be read."""
        await asyncio.shield(self._sent)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if (
                not _same_user(writer.get_extra_info("socket"))
                or not await self._knows_token(reader)
                or self._connected
            ):
                log.warning("a stranger asked for a job's records")
                return
            self._connected = True
            for use, file in self._sets:
                await self._send(writer, use, file)
            for stored in self._earlier:
                if stored.file is not None:
                    await self._send_earlier(writer, stored.request.job, stored.file)
            self._finish(None)
        except ConnectionError:
            self._finish(None)  # the child is gone, and its exit status tells why
        except Exception as error:  # noqa: BLE001 - the attempt must learn of any error
            self._finish(_failure(error))
        finally:
            writer.close()

    async def _knows_token(self, reader: asyncio.StreamReader) -> bool:
        try:
            async with asyncio.timeout(_TOKEN_SECONDS):
                line = await reader.readline()
        except (TimeoutError, ValueError):
            return False
        return hmac.compare_digest(line.removesuffix(b"\n"), self._token)

    async def _send(self, writer: asyncio.StreamWriter, use: JobFile, file: FileRow) -> None:
        """Sends a set as a line of `core.schema.job_spec.RecordSet`, record by record: it need not fit into memory.

        The line ends with the places of records that an earlier job had to forget. Their digests tell, so its text may
        be deleted or unreadable.
        """
        head = {"name": use.name, "kind": use.kind, "weight": use.weight, "part": use.part}
        if use.job != self._sets[0][0].job:
            head["job"] = use.job  # a companion's own set
        line = _Line(writer, head)
        own = self._digests.setdefault(use.job, bytearray()) if use.name == "forget" else None
        forgotten, position = [], 0
        async for record in stored_records(self._storage, file, self._keys):
            if own is not None:
                own += record_digest(record, self._keys)
            elif self._forgotten and self._forgotten.finds(record, self._keys):
                forgotten.append(position)
            position += 1
            await line.add(record)
        await line.end({"forgotten": forgotten} if forgotten else {})

    async def _send_earlier(self, writer: asyncio.StreamWriter, job: str, file: FileRow) -> None:
        """Sends the records of an earlier job, and the places of those to measure.

        All records are sent, because the child trains on none of them. A sample of them is measured.
        A file that cannot be read does not fail this job. The line then ends early and gives the reason.
        """
        sample = RecordSample(records_of_each(len(self._earlier)))
        line = _Line(writer, {"name": "forget", "earlier": job})
        end: dict[str, object]
        try:
            async for record in stored_records(self._storage, file, self._keys):
                sample.add(record)
                await line.add(record)
            end = {"positions": [position for position, _ in sample.records()]}
        except (NotStored, SealBroken, BadRecord) as error:
            log.warning("an earlier job's records are not measured again", extra={"of": job, **error_fields(error)})
            end = {"positions": [], "unread": "deleted" if isinstance(error, NotStored) else "unreadable"}
        await line.end(end)

    def _finish(self, failure: AttemptFailed | None) -> None:
        if self._sent.done():
            return
        if failure is None:
            self._sent.set_result(None)
        else:
            self._sent.set_exception(failure)


class _Line:
    """A line of `core.schema.job_spec.RecordSet` that is written as its records come."""

    def __init__(self, writer: asyncio.StreamWriter, head: Mapping[str, object]) -> None:
        self._writer = writer
        self._buffer = bytearray(json.dumps(head)[:-1].encode() + b', "records": [')
        self._separator = b""

    async def add(self, record: Record) -> None:
        """Writes the next record."""
        self._buffer += self._separator + record.to_json().encode()
        self._separator = b","
        if len(self._buffer) >= _BUFFER_BYTES:
            await self._flush()

    async def end(self, tail: Mapping[str, object]) -> None:
        """Ends the line with the fields that are known only after the records."""
        fields = "".join(f", {json.dumps(name)}: {json.dumps(value)}" for name, value in tail.items())
        self._buffer += b"]" + fields.encode() + b"}\n"
        await self._flush()

    async def _flush(self) -> None:
        self._writer.write(bytes(self._buffer))
        self._buffer.clear()
        await self._writer.drain()


def _same_user(connection: socket.socket) -> bool:
    """Returns whether the peer runs under this process's user.

    Returns True where the system cannot tell: then the private folder and the token are the protection.
    """
    if not hasattr(socket, "SO_PEERCRED"):
        return True
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    _, uid, _ = struct.unpack("3i", credentials)
    return bool(uid == os.geteuid())


def _failure(error: Exception) -> AttemptFailed:
    """Returns the reason why the records cannot be served, without any of their text."""
    log.warning("records not handed over", extra=error_fields(error))
    if isinstance(error, KeyDestroyed):
        return service_failure(
            "file_gone",
            "the key of a file of this job is not in the key store: the file was deleted, or the worker's KEY_STORE_URL"
            " differs from the API's",
            retryable=False,
        )
    if isinstance(error, NotStored):
        return service_failure(
            "file_gone", "the bytes of a file of this job are gone; upload it again", retryable=False
        )
    if isinstance(error, SealBroken):
        return service_failure(
            "file_damaged",
            "a file of this job does not open with the service's key; restore the key, or upload the file again",
            retryable=False,
        )
    if isinstance(error, BadRecord):
        return service_failure(
            "file_damaged", "a file of this job can no longer be read; upload it again", retryable=False
        )
    if is_transient(error):
        return service_failure(
            "service_unreachable", "a server that the worker needs could not be reached; the worker's log says where"
        )
    return service_failure("records_unavailable", "the job's records could not be read; the worker's log says where")
