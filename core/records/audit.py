"""The audit log: decisions in an organisation, with the key that made them, chained by hashes.

A reader who keeps one entry's hash can later prove that no entry up to it was changed, removed or inserted.
"""

import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from core.records.clock import now
from core.records.tables import AuditRow, Organisation

FIRST_PREVIOUS = "0" * 64
"""The first entry's `previous`."""

Details = Mapping[str, str | int | bool | None]
"""An entry's own fields. No fractions: a hashed value must come out of the database as it went in."""


def entry_hash(row: AuditRow) -> str:
    """sha256, in hex, of the entry's canonical JSON (sorted keys, no spaces, UTF-8), its `previous` included."""
    names = ("organisation", "seq", "key", "action", "object", "details", "previous")
    entry = {name: getattr(row, name) for name in names} | {"at": _rfc3339(row.at)}
    return hashlib.sha256(
        json.dumps(entry, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    ).hexdigest()


def _rfc3339(at: datetime) -> str:
    """RFC 3339 in UTC, always with six decimal places: the database keeps microseconds."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


async def append(
    session: AsyncSession, organisation: str, key: str | None, action: str, object: str, details: Details
) -> AuditRow:
    """Adds an entry that commits with the caller's transaction; `key` is None for the service's own decisions.

    Entries of one organisation queue up behind its row from here to the end of the transaction: append last.
    """
    # FOR NO KEY UPDATE: foreign keys to the organisation ask only for KEY SHARE, so their inserts do not wait
    lock = select(Organisation.id).where(Organisation.id == organisation).with_for_update(key_share=True)
    await session.execute(lock)
    entries = select(AuditRow.seq, AuditRow.hash).where(AuditRow.organisation == organisation)
    last = (await session.execute(entries.order_by(AuditRow.seq.desc()).limit(1))).one_or_none()
    row = AuditRow(
        organisation=organisation,
        seq=last.seq + 1 if last else 1,
        at=await now(session),
        key=key,
        action=action,
        object=object,
        details=dict(details),
        previous=last.hash if last else FIRST_PREVIOUS,
    )
    row.hash = entry_hash(row)
    session.add(row)
    await session.flush()
    return row
