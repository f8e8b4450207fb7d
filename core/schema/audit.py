"""Entries of the audit log: their form, and the hash that chains them."""

import hashlib
import json
from datetime import UTC, datetime

from pydantic import Field, model_validator

from core.schema.envelopes import Envelope
from core.schema.pages import Page
from core.schema.strict import Answer

FIRST_PREVIOUS = "0" * 64
"""The first entry's `previous`."""

Detail = str | int | bool | None
"""A value of an entry's details. No fractions: a hashed value must come out of the database as it went in."""


class AuditEntry(Answer):
    """One entry of an organisation's audit log. Its `hash` is over all of its other fields (`entry_hash`)."""

    organisation: str = Field(description="The organisation's id, `org-…`.")
    seq: int = Field(ge=1, description="The entry's number: from 1 within the organisation, without gaps.")
    at: str = Field(
        description="When the entry was written: RFC 3339, in UTC, with six decimal places.",
        examples=["2026-11-28T09:30:00.000000Z"],
    )
    key: str | None = Field(description="The API key that acted, `key-…`. Null: the service itself.")
    action: str = Field(description="What was done.", examples=["checkpoint.released"])
    object: str = Field(description="The id or name of what it was done to.", examples=["ckpt-0190…"])
    details: dict[str, Detail] = Field(description="Facts of the action. Never a record's text.")
    previous: str = Field(description="The `hash` of the entry before. 64 zeros: it is the first entry.")
    hash: str = Field(description="The sha256, in hexadecimal digits, of the canonical JSON of the other fields.")


class AuditHead(Answer):
    """The newest entry of an organisation's audit log: its hash covers all entries before it."""

    organisation: str = Field(description="The organisation's id, `org-…`.")
    seq: int = Field(ge=0, description="The number of the newest entry. 0: the log is empty.")
    hash: str = Field(description="The hash of the newest entry. 64 zeros: the log is empty.")


class AuditPage(Page[AuditEntry]):
    """A page of the audit log, newest entries first, with the head of the whole log."""

    head: AuditHead = Field(description="The newest entry of the whole log, whatever the filters are.")
    signed_head: Envelope | None = Field(
        description="The newest head that is signed, as a DSSE envelope: its payload has `organisation`, `seq`, `hash`"
        " and `signed_at`. Null: none is signed yet."
    )


class AuditLine(Answer):
    """One line of an exported audit log: an entry, or a signed head after the entry that it is about."""

    entry: AuditEntry | None = Field(default=None, description="An entry of the log.")
    signed_head: Envelope | None = Field(default=None, description="A signed head of the log, as a DSSE envelope.")

    @model_validator(mode="after")
    def _holds_one(self) -> "AuditLine":
        if (self.entry is None) == (self.signed_head is None):
            raise ValueError("a line holds either an entry or a signed head")
        return self


def rfc3339(at: datetime) -> str:
    """Returns the time in UTC, always with six decimal places: the database keeps microseconds."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def entry_hash(entry: AuditEntry) -> str:
    """Returns the sha256, in hexadecimal digits, of the entry without `hash`, as canonical JSON.

    Canonical JSON has sorted keys, no spaces and no escapes that JSON does not require, and is UTF-8.
    """
    fields = entry.model_dump(exclude={"hash"})
    return hashlib.sha256(
        json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    ).hexdigest()
