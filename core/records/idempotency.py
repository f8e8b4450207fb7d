"""Idempotency keys: a key's first answer is stored for a day. Until there is one, a lease holds the key, which a crash
lets run out."""

from dataclasses import dataclass

from sqlalchemy import delete, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from core.records.clock import seconds_from_now
from core.records.tables import IdempotencyKey
from core.schema.errors import DomainError

LEASE_SECONDS = 60.0
KEPT_DAYS = 1


class KeyReused(DomainError):
    """The key stands for another request."""

    status, problem = 422, "idempotency-key-reused"
    detail = "this Idempotency-Key stands for another request"


class KeyBusy(DomainError):
    """The first request with this key is still under way; its hold ends in `seconds`, unless it is answered before."""

    status, problem = 409, "idempotency-key-busy"
    detail = "the first request with this Idempotency-Key is still under way, or its server died a moment ago"

    def __init__(self, seconds: float = 1.0) -> None:
        self.retry_after = seconds
        super().__init__()


@dataclass(frozen=True)
class StoredAnswer:
    """An answer that was given already."""

    status: int
    headers: dict[str, str]
    body: bytes


async def begin(
    session: AsyncSession, *, organisation: str, key: str, route: str, body_digest: bytes, token: str
) -> StoredAnswer | None:
    """Takes the key for this request (None), or returns the answer that is stored under it.

    KeyReused: the key was used for a different request. KeyBusy: the first request with it is under way.
    """
    until = seconds_from_now(LEASE_SECONDS)
    values = {"organisation": organisation, "key": key, "route": route, "body_digest": body_digest, "token": token}
    query = insert(IdempotencyKey).values(**values, leased_until=until).on_conflict_do_nothing()
    if await session.scalar(query.returning(IdempotencyKey.token)):
        return None
    row = await session.scalar(
        select(IdempotencyKey)
        .where(IdempotencyKey.organisation == organisation, IdempotencyKey.key == key)
        .with_for_update()
    )
    if row is None:  # deleted between the two statements: the client may simply try again
        raise KeyBusy
    if row.route != route or row.body_digest != body_digest:
        raise KeyReused
    if row.status is not None:
        return StoredAnswer(row.status, row.headers or {}, row.body or b"")
    taken = (
        update(IdempotencyKey)
        .where(IdempotencyKey.organisation == organisation, IdempotencyKey.key == key)
        .where(IdempotencyKey.leased_until < func.clock_timestamp())
        .values(token=token, leased_until=until)
    )
    if await session.scalar(taken.returning(IdempotencyKey.token)) is None:
        remaining = func.extract("epoch", IdempotencyKey.leased_until - func.clock_timestamp())
        lease = select(remaining).where(IdempotencyKey.organisation == organisation, IdempotencyKey.key == key)
        raise KeyBusy(max(1.0, float(await session.scalar(lease) or 0.0)))
    return None


async def store_answer(
    session: AsyncSession, *, organisation: str, key: str, token: str, status: int, headers: dict[str, str], body: bytes
) -> None:
    """Stores the answer. KeyBusy: the lease ran out and another request took the key: nothing may be made twice."""
    query = (
        update(IdempotencyKey)
        .where(IdempotencyKey.organisation == organisation, IdempotencyKey.key == key, IdempotencyKey.token == token)
        .values(status=status, headers=headers, body=body)
    )
    if await session.scalar(query.returning(IdempotencyKey.token)) is None:
        raise KeyBusy


async def discard(session: AsyncSession, *, organisation: str, key: str, token: str) -> None:
    """Frees the key of a request that ended without a stored answer, so that the request may be sent again.

    Safe after a commit whose own answer was lost: `store_answer` locked the row in that transaction, so this waits for
    its end and then finds the stored answer, which stays. A commit of `begin` that is still under way is not seen: the
    lease frees that key.
    """
    await session.execute(
        delete(IdempotencyKey).where(
            IdempotencyKey.organisation == organisation,
            IdempotencyKey.key == key,
            IdempotencyKey.token == token,
            IdempotencyKey.status.is_(None),
        )
    )


async def delete_expired(session: AsyncSession) -> None:
    """Deletes the keys that are older than a day."""
    oldest = func.clock_timestamp() - func.make_interval(0, 0, 0, KEPT_DAYS)
    await session.execute(delete(IdempotencyKey).where(IdempotencyKey.created_at < oldest))
