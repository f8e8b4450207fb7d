"""The database engine, one per process and event loop."""

import logging
from typing import Any

from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

logging.getLogger("sqlalchemy.engine").setLevel(logging.WARNING)


def make_engine(database_url: str, *, pool_size: int = 10) -> AsyncEngine:
    """An async engine whose errors never show parameters (they may be forget data).

    A server that cannot be reached raises ConnectionError, whichever error the operating system reports.
    """
    engine = create_async_engine(
        database_url, pool_size=pool_size, max_overflow=pool_size, pool_pre_ping=True, hide_parameters=True
    )
    event.listen(engine.sync_engine, "do_connect", _connect)
    return engine


def _connect(dialect: Any, _record: object, arguments: list[Any], options: dict[str, Any]) -> Any:
    try:
        return dialect.connect(*arguments, **options)
    except ConnectionError:
        raise
    except OSError as error:  # no socket there (FileNotFoundError), no such host (gaierror), TimeoutError
        raise ConnectionError("the database cannot be reached") from error
