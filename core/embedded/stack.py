"""The two servers of a data folder, started and stopped together."""

from pathlib import Path

from core.embedded.folder import make_data_folder
from core.embedded.postgres import SERVICE, SIGNER, SUPERUSER, Postgres
from core.embedded.redis import Redis


class Stack:
    """The PostgreSQL and the Redis of one data folder. They outlive the process that started them, until `stop`.

    The caller ensures that one process at a time starts or stops them (a lock on `<data>/lock`)."""

    def __init__(self, data: Path) -> None:
        self.data = data.resolve()
        self.postgres = Postgres(self.data)
        self.redis = Redis(self.data)

    @classmethod
    def start(cls, data: Path) -> "Stack":
        """Starts each server, or takes over a running one (after a kill -9, say); returns when both answer.

        Raises StackError with advice, and stops the servers that it has started itself."""
        stack = cls(make_data_folder(data))
        servers: list[Postgres | Redis] = [stack.postgres, stack.redis]
        stopped = [server for server in servers if server.process() is None]
        try:
            for server in servers:
                server.start()
        except BaseException:
            for server in stopped:
                server.stop()
            raise
        return stack

    def stop(self) -> None:
        """Stops Redis, then PostgreSQL, where they run."""
        try:
            self.redis.stop()
        finally:
            self.postgres.stop()

    @property
    def database_url(self) -> str:
        """The service's database as the role that owns it, for SQLAlchemy with asyncpg."""
        return self.postgres.url()

    @property
    def service_url(self) -> str:
        """The same database as the role that the service connects as."""
        return self.postgres.url(SERVICE)

    @property
    def signer_url(self) -> str:
        """The same database as the role that the signer connects as."""
        return self.postgres.url(SIGNER)

    @property
    def superuser_url(self) -> str:
        """The superuser's address, for dumps, upgrades and tests; the service itself does not use it."""
        return self.postgres.url(SUPERUSER, "postgres")

    @property
    def redis_url(self) -> str:
        """The address of Redis for Celery (`redis+socket://`); `core.queue.redis_py_url` turns it into redis-py's."""
        return self.redis.url()


def running(data: Path) -> bool:
    """Whether any server of the data folder runs."""
    stack = Stack(data)
    return stack.postgres.process() is not None or stack.redis.process() is not None
