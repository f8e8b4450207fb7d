"""Checkpoints under the names of the Hub's protocol: a repository is a job or a model, a revision is a checkpoint."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Select, literal_column, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from core.records.tables import CheckpointRow, JobRow, ModelRow, Organisation

_commit: ColumnElement[str] = literal_column("left(checkpoints.digest, 40)")
"""A checkpoint's commit (`core.schema.hub.commit_of`); the index `ix_checkpoints_commit` is on this expression."""


@dataclass(frozen=True)
class Repository:
    """A job or a model with the checkpoints that are its revisions; `main` is None while there is none."""

    checkpoints: Select[CheckpointRow]
    main: str | None


async def find(session: AsyncSession, organisation: str, namespace: str, name: str) -> Repository | None:
    """The repository `<namespace>/<name>` of the organisation, whose name or id the namespace must be."""
    named = or_(Organisation.name == namespace, Organisation.id == namespace)
    if await session.scalar(select(Organisation.id).where(Organisation.id == organisation, named)) is None:
        return None
    rows = select(CheckpointRow).where(CheckpointRow.organisation == organisation)
    job = await session.scalar(select(JobRow).where(JobRow.organisation == organisation, JobRow.id == name))
    if job is not None:
        return Repository(rows.where(CheckpointRow.job == job.id), job.checkpoint)
    model = await session.scalar(select(ModelRow).where(ModelRow.organisation == organisation, ModelRow.id == name))
    if model is not None:
        return Repository(
            rows.where(CheckpointRow.model == model.id, CheckpointRow.created_at >= model.created_at), model.head
        )
    return None


async def resolve(session: AsyncSession, repository: Repository, revision: str) -> CheckpointRow | None:
    """The checkpoint that `main`, a commit or a checkpoint's id stands for.

    Several checkpoints of one commit have the same bytes; of these, one that is released comes first.
    """
    query = repository.checkpoints
    if revision == "main":
        query = query.where(CheckpointRow.id == repository.main)
    else:
        query = query.where(or_(CheckpointRow.id == revision, _commit == revision))
    return await session.scalar(query.order_by(CheckpointRow.released.desc(), CheckpointRow.id.desc()).limit(1))


async def revisions(session: AsyncSession, repository: Repository, *, limit: int) -> Sequence[CheckpointRow]:
    """The repository's checkpoints, newest first."""
    query = repository.checkpoints.order_by(CheckpointRow.id.desc()).limit(limit)
    return (await session.scalars(query)).all()


async def organisation_name(session: AsyncSession, organisation: str) -> str:
    """The name of an organisation."""
    return (await session.scalars(select(Organisation.name).where(Organisation.id == organisation))).one()
