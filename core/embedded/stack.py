"""Both servers of a data folder, together."""

from pathlib import Path

from core.embedded.folder import make_data_folder
from core.embedded.postgres import SUPERUSER, Postgres
from core.embedded.redis import Redis


class Stack:
    """The PostgreSQL and the Redis of one data folder. They outlive whoever started them, until `stop`.

    The caller sees to it that one process at a time starts or stops them (a lock on `<data>/lock`)."""

    def __init__(self, data: Path) -> None:
        self.data = data.resolve()
        self.postgres = Postgres(self.data)
        self.redis = Redis(self.data)

    @classmethod
    def start(cls, data: Path) -> "Stack":
        """Starts what does not run yet and takes over what does (after a kill -9, say); returns when both answer.

        Raises StackError with advice; what it started itself is then stopped again."""
        stack = cls(make_data_folder(data))
        servers: list[Postgres | Redis] = [stack.postgres, stack.redis]
        idle = [server for server in servers if server.process() is None]
        try:
            for server in servers:
                server.start()
        except BaseException:
            for server in idle:
                server.stop()
            raise
        return stack

    def stop(self) -> None:
        """Stops Redis, then PostgreSQL; whichever does not run is left alone."""
        try:
            self.redis.stop()
        finally:
            self.postgres.stop()

    @property
    def database_url(self) -> str:
        """For SQLAlchemy with asyncpg: the service's own database, as the role that owns it."""
        return self.postgres.url()

    @property
    def superuser_url(self) -> str:
        """For dumps, upgrades and tests; the service itself has no need of it."""
        return self.postgres.url(SUPERUSER, "postgres")

    @property
    def redis_url(self) -> str:
        """For Celery (`redis+socket://`); `core.queue.client_url` turns it into redis-py's."""
        return self.redis.url()


def running(data: Path) -> bool:
    """Whether any server of the data folder runs."""
    stack = Stack(data)
    return stack.postgres.process() is not None or stack.redis.process() is not None
