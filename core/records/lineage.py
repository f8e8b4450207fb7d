"""The lineage of a model. A job's pinned start is the parent of the checkpoint that the job made."""

from collections.abc import Sequence

from sqlalchemy import CTE, ColumnElement, Row, Select, and_, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

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
    places = ancestor_places(model.organisation, model.head)
    return set(
        (await session.scalars(select(CheckpointRow.id).join(places, places.c.prefix == CheckpointRow.prefix))).all()
    )


def ancestor_places(organisation: str, checkpoint: str) -> CTE:
    """The places in the storage (`prefix`) of the checkpoint and of all that it came from.

    Checkpoints of jobs that shared a run have one place. A place has one parent, so the chain has no branches.
    """
    first = select(CheckpointRow.prefix).where(
        CheckpointRow.organisation == organisation, CheckpointRow.id == checkpoint
    )
    chain = first.cte(recursive=True)
    child = aliased(CheckpointRow)
    parent = (
        select(CheckpointRow.prefix)
        .join(JobRow, JobRow.start_checkpoint == CheckpointRow.id)
        .join(child, child.job == JobRow.id)
        .join(chain, chain.c.prefix == child.prefix)
    )
    return chain.union(parent)


def _descendants(model: ModelRow, checkpoint: str) -> Select[str]:
    own = select(CheckpointRow.prefix).where(CheckpointRow.id == checkpoint)
    first = own.cte(recursive=True)
    parent = aliased(CheckpointRow)
    children = (
        select(CheckpointRow.prefix)
        .join(JobRow, JobRow.id == CheckpointRow.job)
        .join(parent, parent.id == JobRow.start_checkpoint)
        .join(first, first.c.prefix == parent.prefix)
        .where(JobRow.organisation == model.organisation)
    )
    every = first.union(children)
    places = select(every.c.prefix).where(every.c.prefix != own.scalar_subquery())
    return select(CheckpointRow.id).where(CheckpointRow.prefix.in_(places))


def _of_model(model: ModelRow) -> ColumnElement[bool]:
    own = and_(CheckpointRow.organisation == model.organisation, CheckpointRow.model == model.id)
    return and_(own, JobRow.created_at >= model.created_at)
