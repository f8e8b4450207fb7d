"""The folder of one attempt on this machine, `SCRATCH_DIR/<job>/<fence>/`, removed when the attempt ends.

Beside it lies `snapshots`, which the attempts of a job share and which is removed when the job ends. Measurements of
models lie in `SCRATCH_DIR/measured/<organisation>/`, and rehearsal samples of models, sealed, in
`SCRATCH_DIR/rehearsed/<organisation>/<key's id>/`; both stay.
"""

import asyncio
import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

_SNAPSHOTS = "snapshots"
_MEASURED = "measured"
_REHEARSED = "rehearsed"
_SOCKET_PATH_BYTES = 100
"""A limit under those of a Unix socket's path: 107 bytes on Linux, 103 on macOS."""


class Scratch:
    """An attempt's folder. `async with` makes it, private, and removes it."""

    def __init__(self, root: Path, job: str, fence: int) -> None:
        self.folder = root.absolute() / job / str(fence)
        self._socket_folder: Path | None = None

    async def __aenter__(self) -> "Scratch":
        self.folder.parent.parent.mkdir(parents=True, exist_ok=True)
        await asyncio.to_thread(shutil.rmtree, self.folder, ignore_errors=True)
        while not self.folder.is_dir():
            self.folder.parent.mkdir(mode=0o700, exist_ok=True)
            with contextlib.suppress(FileNotFoundError):  # `remove_folder` has just taken the job's empty folder
                self.folder.mkdir(mode=0o700)
        self.temporary.mkdir(mode=0o700)
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.shield(asyncio.to_thread(self._remove))

    @property
    def start(self) -> Path:
        """The folder for the checkpoint that the job starts from."""
        return self.folder / "start"

    @property
    def output(self) -> Path:
        """The folder in which the child saves its checkpoint."""
        return self.folder / "checkpoint"

    @property
    def snapshots(self) -> Path:
        """The folder of the snapshots that the job resumes from, of any of its attempts."""
        return self.folder.parent / _SNAPSHOTS

    @property
    def temporary(self) -> Path:
        """The child's TMPDIR."""
        return self.folder / "tmp"

    def socket(self) -> Path:
        """Returns a path for the records' Unix socket: in this folder, or where that is too long, in a short one."""
        path = self.folder / "records"
        if len(str(path).encode()) <= _SOCKET_PATH_BYTES:
            return path
        if self._socket_folder is None:
            self._socket_folder = Path(tempfile.mkdtemp(prefix="unlearn-"))
        return self._socket_folder / "records"

    def _remove(self) -> None:
        remove_folder(self.folder)
        if self._socket_folder is not None:
            shutil.rmtree(self._socket_folder, ignore_errors=True)


def remove_folder(folder: Path) -> None:
    """Removes an attempt's folder, or a snapshots folder, and the job's folder once it is empty."""
    shutil.rmtree(folder, ignore_errors=True)
    with contextlib.suppress(OSError):  # the folder of another attempt, or the snapshots, may still be in it
        folder.parent.rmdir()


def measurements_folder(root: Path, organisation: str) -> Path:
    """Returns the folder of the organisation's measurements on this machine, for later jobs. The child makes it."""
    return root.absolute() / _MEASURED / organisation


def samples_folder(root: Path, organisation: str) -> Path:
    """Returns the folder of the organisation's rehearsal samples on this machine. The child makes it."""
    return root.absolute() / _REHEARSED / organisation


def sample_folders(root: Path) -> Iterator[tuple[str, Path]]:
    """Yields `(key's id, folder)` of all rehearsal samples here, of any organisation."""
    for folder in root.glob(f"{_REHEARSED}/*/samples-*"):
        if folder.is_dir() and not folder.is_symlink():
            yield folder.name, folder


def attempt_folders(root: Path) -> Iterator[tuple[str, int, Path]]:
    """Yields `(job, fence, folder)` of every attempt that has a folder here."""
    for folder in (*root.glob("job-*/*"), *root.glob("meas-*/*")):
        if folder.name.isdigit() and folder.is_dir() and not folder.is_symlink():
            yield folder.parent.name, int(folder.name), folder


def snapshot_folders(root: Path) -> Iterator[tuple[str, Path]]:
    """Yields `(job, folder)` of every job that has snapshots here."""
    for folder in root.glob(f"job-*/{_SNAPSHOTS}"):
        if folder.is_dir() and not folder.is_symlink():
            yield folder.parent.name, folder
