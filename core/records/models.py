"""Rows of registered models."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import delete, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from core.records import audit
from core.records.tables import JobRow, ModelRow
from core.schema.default_policy import DEFAULT_POLICY
from core.schema.errors import DomainError, Identifier
from core.schema.jobs import TERMINAL


class ModelInUse(DomainError):
    """A job that is not over needs the model."""

    status, problem = 409, "in-use"

    def __init__(self, job: Identifier) -> None:
        self.detail = f"{job} needs the model: wait until it is over, or cancel it"
        super().__init__()


async def add(session: AsyncSession, model: ModelRow, *, key: str | None = None) -> ModelRow | None:
    """Registers the model, for the API key that asked; None where the id is taken."""
    values = {
        column.key: getattr(model, column.key)
        for column in ModelRow.__table__.columns
        if column.key not in ("created_at",)
    }
    query = insert(ModelRow).values(values).on_conflict_do_nothing().returning(ModelRow)
    row = await session.scalar(query)
    if row is not None:
        details = {"source": row.source, "release": row.release, "policy": row.policy or DEFAULT_POLICY.name}
        await audit.append(session, row.organisation, key, "model.registered", row.id, details)
    return row


async def get(session: AsyncSession, organisation: str, model: str, *, lock: bool = False) -> ModelRow | None:
    """The model; with `lock`, it cannot be deleted until the transaction ends."""
    query = select(ModelRow).where(ModelRow.organisation == organisation, ModelRow.id == model)
    return await session.scalar(query.with_for_update(read=True) if lock else query)


async def page(session: AsyncSession, organisation: str, *, limit: int, after: str | None = None) -> Sequence[ModelRow]:
    """Models in alphabetical order of their ids, which people choose."""
    query = select(ModelRow).where(ModelRow.organisation == organisation)
    if after is not None:
        query = query.where(ModelRow.id > after)
    return (await session.scalars(query.order_by(ModelRow.id).limit(limit))).all()


async def update_registration(
    session: AsyncSession, organisation: str, model: str, values: dict[str, Any], *, created_at: datetime | None = None
) -> bool:
    """Writes the result of a fetch (`status`, `error`, `directory`, …); False where the model was deleted meanwhile.

    With `created_at`, only the registration of that time is written, and not a later one that has taken its id.
    """
    query = update(ModelRow).where(ModelRow.organisation == organisation, ModelRow.id == model).values(values)
    if created_at is not None:
        query = query.where(ModelRow.created_at == created_at)
    row = (await session.execute(query.returning(ModelRow.status, ModelRow.digest, ModelRow.revision))).one_or_none()
    if row is None:
        return False
    if "status" in values:
        details = {"digest": row.digest, "revision": row.revision}
        await audit.append(session, organisation, None, f"model.{row.status}", model, details)
    return True


async def list_fetching(session: AsyncSession) -> Sequence[ModelRow]:
    """Models whose fetch has not ended; a process that starts up resumes them."""
    return (await session.scalars(select(ModelRow).where(ModelRow.status == "fetching"))).all()


async def remove(session: AsyncSession, organisation: str, model: str, *, key: str | None = None) -> bool:
    """Deletes the registration, never the directory; checkpoints made from it stay. False: no such model.

    ModelInUse: an unfinished job needs it.
    """
    query = select(ModelRow).where(ModelRow.organisation == organisation, ModelRow.id == model)
    if await session.scalar(query.with_for_update()) is None:
        return False
    needs = or_(JobRow.model == model, JobRow.retrained_model == model)
    unfinished = select(JobRow.id).where(JobRow.organisation == organisation, needs, JobRow.status.not_in(TERMINAL))
    if job := await session.scalar(unfinished.limit(1)):
        raise ModelInUse(job)
    await session.execute(delete(ModelRow).where(ModelRow.organisation == organisation, ModelRow.id == model))
    await audit.append(session, organisation, key, "model.deleted", model, {})
    return True
