"""Organisations and API keys: stored as HMACs, looked up by the HMAC alone."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import func, or_, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from core.records import audit
from core.records.tables import ApiKey, Organisation
from core.schema.ids import new_id


async def get_or_create_organisation(session: AsyncSession, name: str) -> str:
    """The id of the organisation of this name, which is created where there is none yet."""
    query = insert(Organisation).values(id=new_id("org"), name=name).on_conflict_do_nothing()
    await session.execute(query)
    organisation = await session.scalar(select(Organisation.id).where(Organisation.name == name))
    if organisation is None:  # pragma: no cover - rows of this table are never deleted
        raise LookupError(name)
    return organisation


async def add(
    session: AsyncSession,
    *,
    organisation: str,
    name: str,
    prefix: str,
    hash: bytes,
    scopes: Sequence[str],
    expires_at: datetime | None = None,
    created_by: str | None = None,
) -> ApiKey:
    """Stores a key; a key that is stored already is returned unchanged (two starts with one ADMIN_KEY_FILE).

    `created_by` is the key that asked for it; None: the operator, on the service's own machine.
    """
    values = {
        "id": new_id("key"),
        "organisation": organisation,
        "name": name,
        "prefix": prefix,
        "hash": hash,
        "scopes": list(scopes),
        "expires_at": expires_at,
    }
    stored = insert(ApiKey).values(values).on_conflict_do_nothing().returning(ApiKey.id)
    added = await session.scalar(stored)
    row = await session.scalar(select(ApiKey).where(ApiKey.hash == hash))
    if row is None:  # pragma: no cover - keys are revoked, never deleted
        raise LookupError(prefix)
    if added is not None:
        details = {"name": name, "prefix": prefix, "scopes": " ".join(scopes)}
        await audit.append(session, organisation, created_by, "key.created", row.id, details)
    return row


async def find_by_hash(session: AsyncSession, hash: bytes) -> ApiKey | None:
    """The key with this HMAC; None where there is none, or it has expired or was revoked."""
    valid = or_(ApiKey.expires_at.is_(None), ApiKey.expires_at > func.clock_timestamp())
    return await session.scalar(select(ApiKey).where(ApiKey.hash == hash, ApiKey.revoked_at.is_(None), valid))


async def page(session: AsyncSession, organisation: str, *, limit: int, after: str | None = None) -> Sequence[ApiKey]:
    query = select(ApiKey).where(ApiKey.organisation == organisation)
    if after is not None:
        query = query.where(ApiKey.id < after)
    return (await session.scalars(query.order_by(ApiKey.id.desc()).limit(limit))).all()


async def get(session: AsyncSession, organisation: str, key: str) -> ApiKey | None:
    return await session.scalar(select(ApiKey).where(ApiKey.organisation == organisation, ApiKey.id == key))


async def sign_in(session: AsyncSession, organisation: str, key: str) -> ApiKey | None:
    """Writes to the audit log that a person signed in to the console with the key, and returns the key."""
    row = await get(session, organisation, key)
    if row is not None:
        await audit.append(session, organisation, key, "key.signed_in", key, {})
    return row


async def revoke(session: AsyncSession, organisation: str, key: str, *, revoked_by: str) -> ApiKey | None:
    """Makes the key invalid from now on; it stays listed. Idempotent."""
    row = await session.scalar(
        select(ApiKey).where(ApiKey.organisation == organisation, ApiKey.id == key).with_for_update()
    )
    if row is not None and row.revoked_at is None:
        row.revoked_at = func.clock_timestamp()
        await session.flush()
        await session.refresh(row)
        await audit.append(session, organisation, revoked_by, "key.revoked", key, {"name": row.name})
    return row
