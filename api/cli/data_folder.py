"""The data folder of `unlearn up`: where everything of one installation lies, and who runs it."""

import base64
import fcntl
import json
import os
import secrets
from dataclasses import asdict, dataclass
from pathlib import Path

from core.embedded.folder import make_data_folder


class AlreadyRunning(Exception):
    """Another `unlearn up` has the folder."""

    def __init__(self) -> None:
        super().__init__("another 'unlearn up' is starting or stopping in this folder: try again in a moment")


@dataclass(frozen=True)
class RunningService:
    """What a running `up` tells others: its process and where the API answers."""

    pid: int
    url: str


class DataFolder:
    """One data folder. Only the process that holds `lock` starts or stops anything in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()
        self.admin_key = self.folder / "admin.key"
        self.release_key = self.folder / "release.key"
        self.service_key = self.folder / "service.key"
        self.logs = self.folder / "logs"
        self.models = self.folder / "models"
        self._note = self.folder / "running.json"

    def prepare(self) -> None:
        """Makes the folder and its service key where they are missing; only the owner may look in."""
        make_data_folder(self.folder)
        for folder in (self.logs, self.models):
            folder.mkdir(exist_ok=True, mode=0o700)
        if not self.service_key.exists():
            write_secret(self.service_key, base64.b64encode(secrets.token_bytes(32)).decode())

    def hold(self) -> int:
        """Takes the lock and returns its descriptor: closing it, or the end of the process, frees it."""
        descriptor = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise AlreadyRunning from None
        self._note.unlink(missing_ok=True)
        return descriptor

    def held(self) -> bool:
        """Whether an `up` has the folder."""
        if not (self.folder / "lock").exists():
            return False
        descriptor = os.open(self.folder / "lock", os.O_RDWR | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
        return False

    def announce(self, running: RunningService) -> None:
        """Says that the service is ready: `running` reads it."""
        write_secret(self._note, json.dumps(asdict(running)))

    def running(self) -> RunningService | None:
        """The `up` that is ready in this folder, or None."""
        if not self.held() or not self._note.exists():
            return None
        return RunningService(**json.loads(self._note.read_text()))


def write_secret(path: Path, text: str) -> None:
    """Writes a file that only its owner can read, whole or not at all."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as sink:
        sink.write(text + "\n")
    temporary.replace(path)
