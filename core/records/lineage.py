"""The lineage of a model. A job's pinned start is the parent of the checkpoint that the job made."""

from collections.abc import Sequence

from sqlalchemy import ColumnElement, Row, Select, and_, select
from sqlalchemy.ext.asyncio import AsyncSession

from core.records.tables import CheckpointRow, JobRow, ModelRow

Entry = Row[CheckpointRow, str | None, str | None]
"""A checkpoint, the checkpoint that its job started from, and the job's external reference."""


async def page(
    session: AsyncSession, model: ModelRow, *, limit: int, after: str | None = None, descends_from: str | None = None
) -> Sequence[Entry]:
    """Checkpoints of the model, newest first; with `descends_from`, only those that came from that checkpoint.

    Checkpoints of an earlier registration under the same id are left out.
    """
    query = (
        select(CheckpointRow, JobRow.start_checkpoint, JobRow.external_reference)
        .join(JobRow, JobRow.id == CheckpointRow.job)
        .where(_of_model(model))
    )
    if descends_from is not None:
        query = query.where(CheckpointRow.id.in_(_descendants(model, descends_from)))
    if after is not None:
        query = query.where(CheckpointRow.id < after)
    return (await session.execute(query.order_by(CheckpointRow.id.desc()).limit(limit))).all()


async def find(session: AsyncSession, model: ModelRow, checkpoint: str) -> bool:
    """Whether the model has this checkpoint."""
    query = select(CheckpointRow.id).join(JobRow, JobRow.id == CheckpointRow.job)
    return await session.scalar(query.where(_of_model(model), CheckpointRow.id == checkpoint)) is not None


async def ancestors_of_head(session: AsyncSession, model: ModelRow) -> set[str]:
    """The ids of the model's head and of all checkpoints that it came from; empty where the head is the base."""
    if model.head is None:
        return set()
    # a checkpoint has one parent, so the chain has no branches
    chain = select(CheckpointRow.id, CheckpointRow.job).where(CheckpointRow.id == model.head).cte(recursive=True)
    parent = (
        select(CheckpointRow.id, CheckpointRow.job)
        .join(JobRow, JobRow.start_checkpoint == CheckpointRow.id)
        .join(chain, chain.c.job == JobRow.id)
    )
    chain = chain.union(parent)
    return set((await session.scalars(select(chain.c.id))).all())


def _descendants(model: ModelRow, checkpoint: str) -> Select[tuple[str]]:
    first = select(CheckpointRow.id).where(CheckpointRow.id == checkpoint).cte(recursive=True)
    children = (
        select(CheckpointRow.id)
        .join(JobRow, JobRow.id == CheckpointRow.job)
        .join(first, first.c.id == JobRow.start_checkpoint)
        .where(JobRow.organisation == model.organisation)
    )
    every = first.union(children)
    return select(every.c.id).where(every.c.id != checkpoint)


def _of_model(model: ModelRow) -> ColumnElement[bool]:
    own = and_(CheckpointRow.organisation == model.organisation, CheckpointRow.model == model.id)
    return and_(own, JobRow.created_at >= model.created_at)
