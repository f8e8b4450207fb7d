"""`python -m worker.health`: a health check of the worker on this machine, or in this container.

Exit code 0: the worker has given a sign of life lately; 1: it has not, or the database does not answer.
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
"""Signs of life come with every sweep; a single slow sweep is no reason to restart a worker."""

ANSWER_SECONDS = 8.0
"""Below the timeout of the check in docker-compose.yml, so that the check can still print the reason."""


async def is_alive(settings: Settings) -> bool:
    """Returns whether this host's worker was seen within `SWEEPS_MISSED` sweeps. SQLAlchemyError: no database."""
    engine = make_engine(settings.database_url.get_secret_value(), pool_size=1)
    try:
        async with AsyncSession(engine) as session:
            return await is_host_up(session, host(), within_seconds=SWEEPS_MISSED * settings.sweep_seconds)
    finally:
        await engine.dispose()


def main() -> int:
    """Prints the worker's state in a line and returns the exit code."""
    try:
        alive = asyncio.run(asyncio.wait_for(is_alive(settings()), ANSWER_SECONDS))
    except (SQLAlchemyError, OSError, TimeoutError) as error:
        print(f"the database does not answer ({type(error).__name__})")
        return 1
    print("alive" if alive else f"no sign of life from a worker on {host()}")
    return 0 if alive else 1


if __name__ == "__main__":
    sys.exit(main())
