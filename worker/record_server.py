"""How the child gets its records: decrypted on the way, over a Unix socket, to one connection, against a token."""

import asyncio
import hmac
import json
import logging
import os
import socket
import struct
from pathlib import Path
from typing import Self

from core.records.retry import is_transient
from core.records.tables import FileRow, JobFile
from core.schema.bad_record import BadRecord
from core.storage import NotStored, Storage
from core.storage.sealed import SealBroken
from core.storage.stored_records import stored_records
from worker.assignment import JobFiles
from worker.failure import AttemptFailed, service_failure
from worker.log import LOGGER, error_fields

log = logging.getLogger(LOGGER)

_TOKEN_BYTES = 256
_TOKEN_SECONDS = 30.0
_BUFFER = 256 << 10


class RecordServer:
    """Serves an attempt's sets once. Use as `async with`; `served()` returns, or raises, when it is over."""

    def __init__(self, path: Path, token: str, sets: JobFiles, *, storage: Storage, key: bytes) -> None:
        self._path = path
        self._token = token.encode()
        self._sets = sets
        self._storage = storage
        self._key = key
        self._served: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._begun = False

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
        self._served.cancel()

    async def served(self) -> None:
        """Waits until the child has all its records. AttemptFailed where they cannot be had."""
        await asyncio.shield(self._served)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if not _own(writer.get_extra_info("socket")) or not await self._knows_token(reader) or self._begun:
                log.warning("a stranger asked for a job's records")
                return
            self._begun = True
            for use, file in self._sets:
                await self._send(writer, use, file)
            self._end(None)
        except ConnectionError:
            self._end(None)  # the child is gone, and its exit tells why
        except Exception as error:  # noqa: BLE001 - whatever it is, the attempt must hear of it
            self._end(_unavailable(error))
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
        """One line of `core.schema.job_spec.RecordSet`, written as the records come: a set need not fit into memory."""
        head = {"name": use.name, "kind": use.kind, "weight": use.weight, "part": use.part}
        waiting = bytearray(json.dumps(head)[:-1].encode() + b', "records": [')
        separator = b""
        async for record in stored_records(self._storage, file, self._key):
            waiting += separator + record.to_json().encode()
            separator = b","
            if len(waiting) >= _BUFFER:
                writer.write(bytes(waiting))
                waiting.clear()
                await writer.drain()
        writer.write(bytes(waiting) + b"]}\n")
        await writer.drain()

    def _end(self, failure: AttemptFailed | None) -> None:
        if self._served.done():
            return
        if failure is None:
            self._served.set_result(None)
        else:
            self._served.set_exception(failure)


def _own(connection: socket.socket) -> bool:
    """Whether the other side runs under this process's user; where the system cannot tell, folder and token must do."""
    if not hasattr(socket, "SO_PEERCRED"):
        return True
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    _, uid, _ = struct.unpack("3i", credentials)
    return bool(uid == os.geteuid())


def _unavailable(error: Exception) -> AttemptFailed:
    """Why there are no records, without a word of them."""
    log.warning("records not handed over", extra=error_fields(error))
    if isinstance(error, NotStored):
        return service_failure(
            "file_gone", "the bytes of a file of this job are gone; upload it again", retryable=False
        )
    if isinstance(error, SealBroken):
        return service_failure(
            "file_damaged", "a file of this job does not open with the service's key", retryable=False
        )
    if isinstance(error, BadRecord):
        return service_failure("file_damaged", "a file of this job can no longer be read", retryable=False)
    if is_transient(error):
        return service_failure("service_unreachable", "a server that the worker needs could not be reached")
    return service_failure("records_unavailable", "the job's records could not be read; the worker's log says where")
