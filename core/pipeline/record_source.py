"""The source of the child's records: the supervisor's socket, or files of this machine."""

import socket
from pathlib import Path

from core.lm.errors import CoreError
from core.schema.bad_record import BadRecord
from core.schema.evaluation import SetName
from core.schema.file_kind import UnknownFileKind, detect_file_kind
from core.schema.job_spec import FileRecords, RecordSet, SocketRecords
from core.schema.record import Record
from core.schema.record_reading import read_records

_MAX_RECORD_BYTES = 1 << 24


def fetch_records(source: SocketRecords | FileRecords) -> list[RecordSet]:
    """Fetches all sets of the job. Raises CoreError `records_unavailable`, `bad_record`."""
    return _from_socket(source) if isinstance(source, SocketRecords) else _from_files(source)


def _from_socket(source: SocketRecords) -> list[RecordSet]:
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.connect(str(source.path))
            connection.sendall(source.token.encode() + b"\n")
            with connection.makefile("rb") as lines:
                return [RecordSet.model_validate_json(line) for line in lines]
    except OSError as error:
        raise CoreError(
            "records_unavailable",
            f"the records could not be fetched from the worker ({type(error).__name__})",
            blame="service",
            retryable=True,
        ) from error


def _from_files(source: FileRecords) -> list[RecordSet]:
    sets = [RecordSet(name=file.name, kind=file.kind, part=file.part, records=_read(file.path)) for file in source.sets]
    if source.forget is not None:
        sets.append(RecordSet(name="forget", records=_read(source.forget)))
    sets += [RecordSet(name="retain", kind="in_distribution", records=_read(file)) for file in source.retain]
    sets += [RecordSet(name="retain", kind="general", records=_read(file)) for file in source.general]
    other_files: dict[SetName, Path | None] = {
        "unseen": source.unseen,
        "general": source.only_general,
        "probes": source.probes,
        "protected": source.protected,
    }
    return sets + [RecordSet(name=name, records=_read(file)) for name, file in other_files.items() if file is not None]


def _read(file: Path) -> list[Record]:
    try:
        kind = detect_file_kind(file.name)
        with file.open("rb") as source:
            return [record for _, record in read_records(source, kind, max_record_bytes=_MAX_RECORD_BYTES)]
    except UnknownFileKind as error:
        raise CoreError("bad_record", f"{file.name}: {error}") from None
    except BadRecord as bad:
        raise CoreError("bad_record", f"{file.name}, {bad}") from None
    except OSError as error:
        raise CoreError("records_unavailable", f"{file.name} could not be read ({type(error).__name__})") from error
