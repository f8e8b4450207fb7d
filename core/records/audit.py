"""The audit log: what was done in an organisation, and with which key, as a chain of hashes.

Each entry is written in the transaction of the change that it reports. The entries of one organisation form one chain:
a reader who keeps one entry's hash can later prove that no entry up to it was changed, removed or inserted. The tables'
owner cannot change or delete an entry either: a trigger refuses it (migration 0015).
"""

from collections.abc import Mapping, Sequence
from datetime import datetime

from sqlalchemy import Row, Select, event, func, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session

from core.records.tables import AuditRow, Organisation
from core.schema import audit
from core.schema.audit import FIRST_PREVIOUS, AuditEntry, AuditHead, Detail

Details = Mapping[str, Detail]
"""An entry's own facts. No record's text, no digest of one, no name of a file: an entry is kept for ever."""

_PENDING = "audit"
"""The key of a session's `info` under which the entries wait for the commit."""
_Pending = tuple[str, str | None, str, str, dict[str, Detail]]
"""Organisation, key, action, object and details of an entry."""


def serialize(row: AuditRow) -> AuditEntry:
    """Returns the entry in the form that it is hashed and answered in."""
    names = ("organisation", "seq", "key", "action", "object", "details", "previous", "hash")
    return AuditEntry.model_validate({name: getattr(row, name) for name in names} | {"at": audit.rfc3339(row.at)})


async def append(
    session: AsyncSession, organisation: str, key: str | None, action: str, object: str, details: Details
) -> None:
    """Adds an entry to the caller's transaction; `key` is None for the service's own actions.

    The entry is written when the transaction commits, and not at all where it rolls back. Entries of one organisation
    queue up behind its row, each for the time of one insert and the commit: no other work is done under that lock, and
    no other row is waited for, so that it can neither hold up a long request nor be part of a deadlock.
    """
    session.info.setdefault(_PENDING, []).append((organisation, key, action, object, dict(details)))


@event.listens_for(Session, "before_commit")
def _write(session: Session) -> None:
    if session.in_nested_transaction():
        return
    pending: list[_Pending] = session.info.pop(_PENDING, [])
    # organisations in one order, so that two transactions with entries of several wait for each other in one direction
    for organisation in sorted({entry[0] for entry in pending}):
        # FOR NO KEY UPDATE: foreign keys to the organisation ask only for KEY SHARE, so their inserts do not wait
        lock = select(Organisation.id).where(Organisation.id == organisation).with_for_update(key_share=True)
        session.execute(lock)
        newest = _to_head(organisation, session.execute(_newest(organisation)).one_or_none())
        now = session.execute(select(func.clock_timestamp())).scalar_one()
        for _, key, action, object, details in (entry for entry in pending if entry[0] == organisation):
            row = AuditRow(
                organisation=organisation,
                seq=newest.seq + 1,
                at=now,
                key=key,
                action=action,
                object=object,
                details=details,
                previous=newest.hash,
                hash="",
            )
            row.hash = audit.entry_hash(serialize(row))
            session.add(row)
            newest = AuditHead(organisation=organisation, seq=row.seq, hash=row.hash)
    session.flush()


@event.listens_for(Session, "after_rollback")
def _forget(session: Session) -> None:
    session.info.pop(_PENDING, None)


async def head(session: AsyncSession, organisation: str) -> AuditHead:
    """Returns number and hash of the organisation's newest entry."""
    return _to_head(organisation, (await session.execute(_newest(organisation))).one_or_none())


def _newest(organisation: str) -> Select[int, str]:
    entries = select(AuditRow.seq, AuditRow.hash).where(AuditRow.organisation == organisation)
    return entries.order_by(AuditRow.seq.desc()).limit(1)


def _to_head(organisation: str, newest: Row[int, str] | None) -> AuditHead:
    if newest is None:
        return AuditHead(organisation=organisation, seq=0, hash=FIRST_PREVIOUS)
    return AuditHead(organisation=organisation, seq=newest.seq, hash=newest.hash)


async def page(
    session: AsyncSession,
    organisation: str,
    *,
    limit: int,
    before: int | None = None,
    key: str | None = None,
    action: str | None = None,
    object: str | None = None,
    created_after: datetime | None = None,
    created_before: datetime | None = None,
) -> Sequence[AuditRow]:
    """Entries newest first, below the number `before` where it is given."""
    query = select(AuditRow).where(AuditRow.organisation == organisation)
    if before is not None:
        query = query.where(AuditRow.seq < before)
    for column, value in ((AuditRow.key, key), (AuditRow.action, action), (AuditRow.object, object)):
        if value is not None:
            query = query.where(column == value)
    if created_after is not None:
        query = query.where(AuditRow.at >= created_after)
    if created_before is not None:
        query = query.where(AuditRow.at < created_before)
    return (await session.scalars(query.order_by(AuditRow.seq.desc()).limit(limit))).all()


async def following(
    session: AsyncSession, organisation: str, *, after: int, up_to: int, limit: int
) -> Sequence[AuditRow]:
    """Entries oldest first, above the number `after`."""
    query = select(AuditRow).where(AuditRow.organisation == organisation, AuditRow.seq > after, AuditRow.seq <= up_to)
    return (await session.scalars(query.order_by(AuditRow.seq).limit(limit))).all()
