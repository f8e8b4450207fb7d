"""Instants by the database's clock, the only one that API and workers share."""

from datetime import date, datetime

from sqlalchemy import Date, cast, func, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.sql import ColumnElement


async def now(session: AsyncSession) -> datetime:
    """Returns the present instant."""
    instant: datetime = (await session.execute(select(func.clock_timestamp()))).scalar_one()
    return instant


def today() -> ColumnElement[date]:
    """The present day in UTC: one day for a whole statement, so that an index can be searched for it."""
    return cast(func.timezone("UTC", func.statement_timestamp()), Date)


def seconds_from_now(seconds: float) -> ColumnElement[datetime]:
    """The instant so many seconds after the statement's execution."""
    return func.clock_timestamp() + func.make_interval(0, 0, 0, 0, 0, 0, seconds)


def seconds_ago(seconds: float) -> ColumnElement[datetime]:
    """The instant so many seconds before the statement's execution."""
    return func.clock_timestamp() - func.make_interval(0, 0, 0, 0, 0, 0, seconds)
