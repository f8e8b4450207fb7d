"""Queries about the signer's keys and about the signed heads of audit logs."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import func, select, true
from sqlalchemy.ext.asyncio import AsyncSession

from core.records.tables import AuditRow, Organisation, SignedHeadRow, SigningKeyRow
from core.schema.audit import AuditHead


async def list_keys(session: AsyncSession) -> Sequence[SigningKeyRow]:
    """All keys, newest first."""
    query = select(SigningKeyRow).order_by(SigningKeyRow.not_before.desc(), SigningKeyRow.id)
    return (await session.scalars(query)).all()


async def active_key(session: AsyncSession, purpose: str) -> SigningKeyRow | None:
    """The key that signs now. It is not retired before this transaction ends."""
    query = select(SigningKeyRow).where(SigningKeyRow.purpose == purpose, SigningKeyRow.not_after.is_(None))
    return await session.scalar(query.with_for_update(read=True))


async def replace_key(session: AsyncSession, *, id: str, purpose: str, public_key: str) -> list[str]:
    """Stores a new key and retires the key that it replaces, whose signatures stay valid. Returns the retired ids."""
    query = select(SigningKeyRow).where(SigningKeyRow.purpose == purpose, SigningKeyRow.not_after.is_(None))
    retired = (await session.scalars(query.with_for_update())).all()
    now: datetime = (await session.execute(select(func.clock_timestamp()))).scalar_one()
    for row in retired:
        row.not_after = now
    # the index allows one active key of a purpose
    await session.flush()
    session.add(SigningKeyRow(id=id, purpose=purpose, public_key=public_key, not_before=now))
    await session.flush()
    return [row.id for row in retired]


async def revoke_key(session: AsyncSession, id: str, *, reason: str) -> SigningKeyRow | None:
    """Revokes a key: none of its signatures count from now on. None: there is no such key. Idempotent."""
    row = await session.scalar(select(SigningKeyRow).where(SigningKeyRow.id == id).with_for_update())
    if row is not None and row.revoked_at is None:
        now: datetime = (await session.execute(select(func.clock_timestamp()))).scalar_one()
        row.revoked_at, row.revocation_reason = now, reason
        row.not_after = now if row.not_after is None else row.not_after
    return row


async def unsigned_heads(session: AsyncSession, *, limit: int) -> list[AuditHead]:
    """The newest entries of audit logs that have grown since a head was last signed with a key that still counts."""
    newest = (
        select(AuditRow.seq, AuditRow.hash)
        .where(AuditRow.organisation == Organisation.id)
        .order_by(AuditRow.seq.desc())
        .limit(1)
        .lateral()
    )
    signed = (
        select(func.max(SignedHeadRow.seq))
        .join(SigningKeyRow, SigningKeyRow.id == SignedHeadRow.key)
        .where(SignedHeadRow.organisation == Organisation.id, SigningKeyRow.revoked_at.is_(None))
        .scalar_subquery()
    )
    query = select(Organisation.id, newest.c.seq, newest.c.hash).join(newest, true())
    grown = query.where(newest.c.seq > func.coalesce(signed, 0)).order_by(Organisation.id).limit(limit)
    return [AuditHead(organisation=id, seq=seq, hash=hash) for id, seq, hash in (await session.execute(grown)).all()]


async def signed_heads(session: AsyncSession, organisation: str, *, after: int, up_to: int) -> Sequence[SignedHeadRow]:
    """The signed heads of these numbers, oldest first, made with keys that still count."""
    query = (
        select(SignedHeadRow)
        .join(SigningKeyRow, SigningKeyRow.id == SignedHeadRow.key)
        .where(SignedHeadRow.organisation == organisation, SigningKeyRow.revoked_at.is_(None))
        .where(SignedHeadRow.seq > after, SignedHeadRow.seq <= up_to)
    )
    return (await session.scalars(query.order_by(SignedHeadRow.seq))).all()


async def newest_signed_head(session: AsyncSession, organisation: str) -> SignedHeadRow | None:
    """The newest signed head that was made with a key that still counts."""
    query = (
        select(SignedHeadRow)
        .join(SigningKeyRow, SigningKeyRow.id == SignedHeadRow.key)
        .where(SignedHeadRow.organisation == organisation, SigningKeyRow.revoked_at.is_(None))
    )
    return await session.scalar(query.order_by(SignedHeadRow.seq.desc()).limit(1))
