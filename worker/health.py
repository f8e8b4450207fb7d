"""`python -m worker.health`: whether a worker of this machine (or container) is alive, for container health checks.

Exit code 0: it has given a sign of life lately; 1: it has not, or the database does not answer.
"""

import asyncio
import sys

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession

from core.records.engine import make_engine
from core.records.workers import is_host_up
from core.settings import Settings, settings
from worker.identity import host

SWEEPS_MISSED = 6
"""Signs of life come with every sweep; one sweep that takes long is no reason to restart a worker."""

ANSWER_SECONDS = 8.0
"""Below the time that docker-compose.yml gives the check, so that the reason is said."""


async def alive(settings: Settings) -> bool:
    """Whether this host's worker has been seen within `SWEEPS_MISSED` sweeps. SQLAlchemyError without a database."""
    engine = make_engine(settings.database_url.get_secret_value(), pool_size=1)
    try:
        async with AsyncSession(engine) as session:
            return await is_host_up(session, host(), within_seconds=SWEEPS_MISSED * settings.sweep_seconds)
    finally:
        await engine.dispose()


def main() -> int:
    """Says how the worker is, in a line, and returns the exit code."""
    try:
        well = asyncio.run(asyncio.wait_for(alive(settings()), ANSWER_SECONDS))
    except (SQLAlchemyError, OSError, TimeoutError) as error:
        print(f"the database does not answer ({type(error).__name__})")
        return 1
    print("alive" if well else f"no sign of life from a worker on {host()}")
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main())
