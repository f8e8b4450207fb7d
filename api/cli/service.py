"""The service on one machine: database, broker, API and worker as real processes, started and stopped in order."""

import asyncio
import errno
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Self

import httpx

from api.auth import new_api_key
from api.cli.data_folder import DataFolder, RunningService, write_secret
from api.cli.stale_processes import StaleProcesses
from core.embedded.errors import StackError
from core.embedded.postgres import SERVICE, SIGNER, Postgres
from core.embedded.redis import Redis
from core.records.roles import prepare

READY_SECONDS = 60.0
STOP_SECONDS = {"api": 10.0, "worker": 60.0, "signer": 10.0}
RESTART_SECONDS = 1.0


class StartFailed(Exception):
    """A part of the service did not start; the message names the part and its log."""


class Service:
    """Everything that `unlearn up` runs. Servers named by DATABASE_URL or REDIS_URL are the operator's: left alone."""

    def __init__(
        self,
        data_folder: DataFolder,
        *,
        host: str,
        port: int,
        model_roots: list[Path],
        report: Callable[[str], None],
        settings: Mapping[str, str] | None = None,
    ) -> None:
        """`settings` outweigh the environment's; `report` takes a line about each step."""
        self._data_folder, self._report = data_folder, report
        self._host, self._port = host, port
        self._roots = [data_folder.models, *(root.absolute() for root in model_roots)]
        self._overrides = dict(settings or {})
        self._servers: list[Postgres | Redis] = []
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._environment: dict[str, str] = {}
        self._signer_url = ""
        self._stale = StaleProcesses(data_folder)
        client_host = "127.0.0.1" if host in ("0.0.0.0", "::") else host  # noqa: S104 - compared, not bound
        self.url = f"http://{f'[{client_host}]' if ':' in client_host else client_host}:{port}"

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _start(self) -> None:
        data_folder = self._data_folder
        data_folder.prepare()
        self._stale.terminate()
        _check_port(self._host, self._port)
        for file in (data_folder.admin_key, data_folder.release_key):
            if not file.exists():
                write_secret(file, new_api_key())
        self._environment = {**os.environ, **self._settings(), **self._overrides}
        self._prepare_database()
        for name in ("api", "worker", "signer"):
            self._launch(name)
        self._wait_until_ready()
        data_folder.announce(RunningService(pid=os.getpid(), url=self.url))

    def _settings(self) -> dict[str, str]:
        """Returns the settings of this folder. The operator's own environment overrides each of them."""
        folder = self._data_folder.path
        defaults = {
            "STORAGE_URL": f"file://{folder / 'objects'}",
            "KEY_STORE_URL": f"file://{folder / 'keys'}",
            "SERVICE_KEY_FILE": str(self._data_folder.service_key),
            "ADMIN_KEY_FILE": str(self._data_folder.admin_key),
            "RELEASE_KEY_FILE": str(self._data_folder.release_key),
            "MODEL_CACHE": str(self._data_folder.models / "hub"),
            "SCRATCH_DIR": str(folder / "scratch"),
            "SIGNING_DIR": str(self._data_folder.signing_keys),
        }
        settings = {name: os.environ.get(name, default) for name, default in defaults.items()}
        if settings["STORAGE_URL"].startswith("file://"):
            Path(settings["STORAGE_URL"].removeprefix("file://")).mkdir(parents=True, exist_ok=True, mode=0o700)
        roots = [os.environ["MODEL_ROOTS"]] if os.environ.get("MODEL_ROOTS") else []
        settings["MODEL_ROOTS"] = ":".join([*roots, *map(str, self._roots)])
        settings["DATABASE_URL"] = os.environ.get("DATABASE_URL", "")
        if not settings["DATABASE_URL"]:
            postgres = Postgres(folder)
            self._start_server(postgres)
            settings["DATABASE_URL"] = postgres.url(SERVICE)
            settings["MIGRATION_DATABASE_URL"] = postgres.url()
            settings["SIGNER_DATABASE_URL"] = postgres.url(SIGNER)
        settings["REDIS_URL"] = os.environ.get("REDIS_URL", "")
        if not settings["REDIS_URL"]:
            redis = Redis(folder)
            self._start_server(redis)
            settings["REDIS_URL"] = redis.url()
        return settings

    def _start_server(self, server: Postgres | Redis) -> None:
        self._report(f"starting {type(server).__name__}")
        server.start()
        self._servers.append(server)

    def _prepare_database(self) -> None:
        """Migrates the database. The owner's and the signer's addresses leave the environment of API and worker."""
        service = self._environment["DATABASE_URL"]
        owner = self._environment.pop("MIGRATION_DATABASE_URL", "") or service
        self._signer_url = self._environment.pop("SIGNER_DATABASE_URL", "") or service
        asyncio.run(prepare(owner, service_url=service, signer_url=self._signer_url))

    def _launch(self, name: str) -> None:
        api = ["-m", "uvicorn", "api.main:app_from_environment", "--factory", "--no-access-log", "--no-server-header"]
        command = {
            "api": [*api, "--host", self._host, "--port", str(self._port), "--timeout-graceful-shutdown", "5"],
            "worker": ["-m", "worker"],
            "signer": ["-m", "api.cli", "signer", "run"],
        }[name]
        environment = self._environment | ({"DATABASE_URL": self._signer_url} if name == "signer" else {})
        with self._log(name).open("ab") as log:
            self._processes[name] = subprocess.Popen(  # noqa: S603 - our own programs
                [sys.executable, *command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment,
                start_new_session=True,  # Ctrl-C reaches the whole group: the order of stopping is ours
            )
        self._stale.add(name, self._processes[name].pid)

    def _log(self, name: str) -> Path:
        return self._data_folder.logs / f"{name}.log"

    def _wait_until_ready(self) -> None:
        """Waits until the API answers on this port as *our* process, and the worker has given a sign of life.

        Raises StartFailed where a process ends before, or the time is up.
        """
        self._report("starting API, worker and signer")
        deadline = time.monotonic() + READY_SECONDS
        while time.monotonic() < deadline:
            for name, process in self._processes.items():
                if (code := process.poll()) is not None:
                    raise StartFailed(f"the {name} ended with code {code}:\n{_last_lines(self._log(name))}")
            try:
                response = httpx.get(f"{self.url}/readyz", timeout=5.0)
            except httpx.TransportError:
                response = None
            if response is not None and response.status_code == 200:
                return
            time.sleep(0.1)
        raise StartFailed(f"the service was not ready within {READY_SECONDS:.0f} s: see {self._data_folder.logs}")

    def watch(self, stopped: Callable[[], bool]) -> None:
        """Runs until `stopped` returns True, and restarts every process and server that ends before."""
        while not stopped():
            for server in self._servers:
                if server.process() is None:
                    self._restart_server(server)
            for name, process in list(self._processes.items()):
                if (code := process.poll()) is not None:
                    self._report(f"the {name} ended with code {code}: starting it again (log: {self._log(name)})")
                    time.sleep(RESTART_SECONDS)
                    self._launch(name)
            time.sleep(0.2)

    def _restart_server(self, server: Postgres | Redis) -> None:
        self._report(f"{type(server).__name__} has ended: starting it again")
        try:
            server.start()
        except StackError as error:
            self._report(str(error))
            time.sleep(RESTART_SECONDS)

    def stop(self) -> None:
        """Stops API, worker (which gives its jobs back), signer, Redis and Postgres: only what this object started."""
        for name in STOP_SECONDS:
            process = self._processes.pop(name, None)
            if process is None or process.poll() is not None:
                continue
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(timeout=STOP_SECONDS[name])
            except subprocess.TimeoutExpired:
                self._report(f"the {name} did not stop within {STOP_SECONDS[name]:.0f} s: killing it")
                process.kill()
                process.wait()
        self._stale.clear()
        while self._servers:
            self._servers.pop().stop()


@contextmanager
def running_service(
    data_folder: DataFolder, *, port: int, model_roots: list[Path], report: Callable[[str], None]
) -> Iterator[None]:
    """Provides the folder's service: the one that already runs, or one that starts now and stops with the block.

    SIGTERM, which `unlearn down` sends, ends the block and so the service. Only the main thread may call it.
    """
    if data_folder.running() is not None:
        yield
        return
    lock = data_folder.lock()
    before = signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    try:
        with Service(data_folder, host="127.0.0.1", port=port, model_roots=model_roots, report=report):
            yield
    finally:
        signal.signal(signal.SIGTERM, before)
        os.close(lock)


def _check_port(host: str, port: int) -> None:
    """Raises StartFailed where another process listens there: it might answer for ours, and be given our keys."""
    try:
        addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise StartFailed(
            f"{host} is not an address to listen on: {error.strerror}; choose another with --host"
        ) from None
    for family, kind, protocol, _, address in addresses:
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(address)
            except OSError as error:
                if error.errno in (errno.EADDRINUSE, errno.EACCES):
                    raise StartFailed(
                        f"port {port} cannot be had: {error.strerror}; choose another with --port"
                    ) from None


def _last_lines(log: Path, lines: int = 15) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])
