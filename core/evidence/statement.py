"""The signed statement about a job: made from its report, and opened again."""

import json
from datetime import datetime

from pydantic import ValidationError

from core.evidence.envelope import PrivateKey, open_envelope, seal
from core.evidence.key_set import BadSignature, check_validity
from core.schema.envelopes import Envelope
from core.schema.manifest import FileEntry
from core.schema.report import Report
from core.schema.signing_keys import SigningKeySet
from core.schema.statements import (
    PAYLOAD_TYPE,
    PREDICATE_TYPE,
    STATEMENT_TYPE,
    Statement,
    StatementPredicate,
    StatementSubject,
)


class NoCheckpoint(ValueError):
    """The report is of a job without a checkpoint: there is no file to state anything about."""


def checkpoint_files(report: Report) -> list[FileEntry]:
    """Returns the files of the report's checkpoint. NoCheckpoint."""
    if report.checkpoint is None or not report.checkpoint.files:
        raise NoCheckpoint(report.job)
    return report.checkpoint.files


def make_statement(report: Report, *, signed_at: datetime) -> Statement:
    """Returns the statement of a job that made a checkpoint. NoCheckpoint."""
    subjects = [StatementSubject(name=file.path, digest={"sha256": file.sha256}) for file in checkpoint_files(report)]
    predicate = StatementPredicate(version=1, signed_at=signed_at, report=report)
    return Statement(type=STATEMENT_TYPE, subject=subjects, predicateType=PREDICATE_TYPE, predicate=predicate)


def to_bytes(statement: Statement) -> bytes:
    """Returns the statement as canonical JSON: sorted keys, no spaces, UTF-8, each number as Python writes it."""
    content = statement.model_dump(mode="json", by_alias=True)
    return json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def sign_statement(report: Report, key: PrivateKey, *, signed_at: datetime) -> Envelope:
    """Returns the signed statement of a job that made a checkpoint. NoCheckpoint."""
    return seal(to_bytes(make_statement(report, signed_at=signed_at)), PAYLOAD_TYPE, key)


def read_statement(payload: bytes) -> Statement:
    """Returns the statement in a payload. BadSignature: it is none."""
    try:
        return Statement.model_validate_json(payload)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False, include_context=False)[0]
        place = ".".join(map(str, first["loc"])) or "its JSON"
        raise BadSignature(f"what it signs is not a statement of this version: {place}: {first['msg']}") from None


def open_statement(envelope: Envelope, keys: SigningKeySet) -> Statement:
    """Returns the statement that was signed. BadSignature: the signature does not count."""
    payload, key = open_envelope(envelope, PAYLOAD_TYPE, keys)
    statement = read_statement(payload)
    check_validity(key, statement.predicate.signed_at)
    return statement
