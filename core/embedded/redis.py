"""The embedded Redis: a password, no TCP, every accepted hint on disk, no eviction when memory is short."""

import signal
import subprocess
from pathlib import Path
from urllib.parse import quote

import psutil
from redis import Redis as Client
from redis.backoff import NoBackoff
from redis.exceptions import BusyLoadingError
from redis.exceptions import ConnectionError as Unreachable
from redis.exceptions import TimeoutError as Silent
from redis.retry import Retry

from core.embedded.errors import StackError
from core.embedded.folder import (
    make_private,
    read_or_create_password,
    recorded_socket_folder,
    socket_folder,
    write_private,
)
from core.embedded.process import find_process, launch_server, stop_process, tail, wait_until
from core.embedded.software import redis_server

SOCKET = "redis.sock"

READY_SECONDS = 120.0
PATIENCE = 20.0
"""Seconds in which Redis may write its memory to disk, before it is killed."""


class Redis:
    """The server of one data folder. Making this object touches nothing."""

    def __init__(self, data: Path) -> None:
        self.folder = data / "redis"
        self._started: subprocess.Popen[bytes] | None = None

    def process(self) -> psutil.Process | None:
        """The server's process, if it runs."""
        try:
            return find_process(self.folder / "redis.pid", names=["redis", "valkey"])
        except PermissionError as error:
            raise StackError(f"The Redis in {self.folder} belongs to another user. Start as that user.") from error

    def url(self) -> str:
        """The server's address in Celery's form; `core.queue.redis_py_url` turns it into redis-py's."""
        socket = self._socket()
        if socket is None:
            raise StackError(f"No Redis runs in {self.folder}.")
        return f"redis+socket://:{self._password()}@{quote(str(socket))}?virtual_host=0"

    def start(self) -> None:
        """Starts the server, or takes over a running one; returns when it answers."""
        process = self.process()
        if process is not None and wait_until(self._answers, process, seconds=READY_SECONDS):
            return
        program = redis_server()
        make_private(self.folder)
        socket = socket_folder(self.folder, SOCKET, self.folder / "socket.folder") / SOCKET
        configuration = {
            "port": "0",
            "unixsocket": str(socket),
            "unixsocketperm": "700",
            "requirepass": self._password(),
            "dir": str(self.folder),
            "pidfile": str(self.folder / "redis.pid"),
            "daemonize": "no",
            "appendonly": "yes",
            "save": "",
            "maxmemory-policy": "noeviction",
        }
        conf = self.folder / "redis.conf"
        write_private(conf, "".join(f"{name} {_quoted(value)}\n" for name, value in configuration.items()))
        log = self.folder / "redis.log"
        log_size = log.stat().st_size if log.exists() else 0
        self._started = launch_server([str(program), str(conf)], log=log, cwd=self.folder)
        if not wait_until(self._answers, self._started, seconds=READY_SECONDS):
            raise StackError(f"Redis did not start; the end of {log}:\n{tail(log, start=log_size)}")

    def stop(self) -> None:
        """Stops the server; every accepted hint is on disk. Does nothing where none runs."""
        process = self.process()
        if process is not None:
            stop_process(process, [(signal.SIGTERM, PATIENCE), (signal.SIGKILL, 10.0)])
        if self._started is not None:
            self._started.wait(10)  # reaps the child process, whose first thread ends before the others

    def _socket(self) -> Path | None:
        folder = recorded_socket_folder(self.folder, SOCKET, self.folder / "socket.folder")
        return folder / SOCKET if folder is not None and self.folder.exists() else None

    def _password(self) -> str:
        return read_or_create_password(self.folder / "redis.password")

    def _answers(self) -> bool:
        client = Client(
            unix_socket_path=str(self._socket()),
            password=self._password(),
            socket_timeout=5.0,
            retry=Retry(NoBackoff(), 0),  # the caller waits and asks again
        )
        try:
            return bool(client.ping())
        except (BusyLoadingError, Unreachable, Silent):
            return False
        finally:
            client.close()


def _quoted(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
