"""The data folder of `unlearn up`: everything that one installation keeps, and which process runs it."""

import base64
import fcntl
import json
import os
import secrets
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import typer

DEFAULT_DATA = Path(".unlearn")
DataOption = Annotated[
    Path,
    typer.Option(
        "--data", help="The folder that holds everything of one installation.", envvar="UNLEARN_DATA", file_okay=False
    ),
]
"""The option of every command that works on a data folder."""


class AlreadyRunning(Exception):
    """Another `unlearn up` holds the folder's lock."""

    def __init__(self) -> None:
        super().__init__("another 'unlearn up' is starting or stopping in this folder: try again in a moment")


@dataclass(frozen=True)
class RunningService:
    """The service that runs in a data folder: the process id of its `unlearn up`, and the address of its API."""

    pid: int
    url: str


class DataFolder:
    """One data folder. Only the process that holds its `lock` file starts or stops anything in it."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self.admin_key = self.path / "admin.key"
        self.release_key = self.path / "release.key"
        self.service_key = self.path / "service.key"
        self.signing_keys = self.path / "signing-keys"
        self.logs = self.path / "logs"
        self.models = self.path / "models"
        self._lock_file = self.path / "lock"
        self._running_file = self.path / "running.json"

    def prepare(self) -> None:
        """Makes the folder and its service key where they are missing; only the owner may look in."""
        from core.embedded.folder import make_data_folder  # it brings Redis's client, which few commands need

        make_data_folder(self.path)
        for folder in (self.logs, self.models):
            folder.mkdir(exist_ok=True, mode=0o700)
        if not self.service_key.exists():
            write_secret(self.service_key, base64.b64encode(secrets.token_bytes(32)).decode())

    def lock(self) -> int:
        """Takes the lock and returns its descriptor. Closing the descriptor, or the end of the process, frees the lock.

        Raises AlreadyRunning where another process holds it.
        """
        descriptor = os.open(self._lock_file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise AlreadyRunning from None
        self._running_file.unlink(missing_ok=True)
        return descriptor

    def is_locked(self) -> bool:
        """Returns whether an `unlearn up` holds the lock."""
        if not self._lock_file.exists():
            return False
        descriptor = os.open(self._lock_file, os.O_RDWR | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
        return False

    def announce(self, service: RunningService) -> None:
        """Writes down that the service is ready, for `running` to read."""
        write_secret(self._running_file, json.dumps(asdict(service)))

    def running(self) -> RunningService | None:
        """Returns the service that is ready in this folder, or None."""
        if not self.is_locked() or not self._running_file.exists():
            return None
        return RunningService(**json.loads(self._running_file.read_text()))


def write_secret(path: Path, text: str) -> None:
    """Writes a file that only its owner can read, whole or not at all."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as sink:
        sink.write(text + "\n")
    temporary.replace(path)
