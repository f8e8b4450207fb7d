"""Instants by the database's clock, the only one that API and workers share."""

from datetime import datetime

from sqlalchemy import func
from sqlalchemy.sql import ColumnElement


def seconds_from_now(seconds: float) -> ColumnElement[datetime]:
    """The instant so many seconds after the statement's execution."""
    return func.clock_timestamp() + func.make_interval(0, 0, 0, 0, 0, 0, seconds)


def seconds_ago(seconds: float) -> ColumnElement[datetime]:
    """The instant so many seconds before the statement's execution."""
    return func.clock_timestamp() - func.make_interval(0, 0, 0, 0, 0, 0, seconds)
