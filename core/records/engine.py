"""One engine per process and event loop."""

import logging

from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

logging.getLogger("sqlalchemy.engine").setLevel(logging.WARNING)


def make_engine(database_url: str, *, pool_size: int = 10) -> AsyncEngine:
    """An async engine whose errors never show parameters (they may be forget data)."""
    return create_async_engine(
        database_url, pool_size=pool_size, max_overflow=pool_size, pool_pre_ping=True, hide_parameters=True
    )
