"""The folder of one attempt on this machine: `SCRATCH_DIR/<job>/<fence>/`, gone when the attempt is.

Beside it `snapshots`, which the attempts of a job share and which are gone when the job is over. What was measured of
models lies in `SCRATCH_DIR/measured/<organisation>/`, and stays.
"""

import asyncio
import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

_SNAPSHOTS = "snapshots"
_MEASURED = "measured"
_SOCKET_PATH_BYTES = 100
"""A Unix socket's path may have 107 (Linux) or 103 (macOS)."""


class Scratch:
    """Use as `async with`: made private on entering, removed on leaving."""

    def __init__(self, root: Path, job: str, fence: int) -> None:
        self.folder = root.absolute() / job / str(fence)
        self._short: Path | None = None

    async def __aenter__(self) -> "Scratch":
        self.folder.parent.parent.mkdir(parents=True, exist_ok=True)
        self.folder.parent.mkdir(mode=0o700, exist_ok=True)
        await asyncio.to_thread(shutil.rmtree, self.folder, ignore_errors=True)
        self.folder.mkdir(mode=0o700)
        self.temporary.mkdir(mode=0o700)
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.shield(asyncio.to_thread(self._remove))

    @property
    def start(self) -> Path:
        """Where the checkpoint that the job starts from is brought to."""
        return self.folder / "start"

    @property
    def output(self) -> Path:
        """Where the child leaves its checkpoint."""
        return self.folder / "checkpoint"

    @property
    def snapshots(self) -> Path:
        """What the job resumes from, whichever attempt left it."""
        return self.folder.parent / _SNAPSHOTS

    async def forget(self) -> None:
        """Removes the snapshots of the job, which is over."""
        await asyncio.shield(asyncio.to_thread(remove_folder, self.snapshots))

    @property
    def temporary(self) -> Path:
        """The child's TMPDIR."""
        return self.folder / "tmp"

    def socket(self) -> Path:
        """A path that a Unix socket can have: here, or where this is too long in a private short folder."""
        path = self.folder / "records"
        if len(str(path).encode()) <= _SOCKET_PATH_BYTES:
            return path
        if self._short is None:
            self._short = Path(tempfile.mkdtemp(prefix="unlearn-"))
        return self._short / "records"

    def _remove(self) -> None:
        remove_folder(self.folder)
        if self._short is not None:
            shutil.rmtree(self._short, ignore_errors=True)


def remove_folder(folder: Path) -> None:
    """Removes an attempt's folder, or the snapshots', and their job's if it was the last."""
    shutil.rmtree(folder, ignore_errors=True)
    with contextlib.suppress(OSError):  # another attempt's folder, or snapshots, may still be beside it
        folder.parent.rmdir()


def measurement_cache(root: Path, organisation: str) -> Path:
    """Where the organisation's measurements are kept on this machine, for later jobs; its child makes it."""
    return root.absolute() / _MEASURED / organisation


def attempt_folders(root: Path) -> Iterator[tuple[str, int, Path]]:
    """`(job, fence, folder)` of every attempt that has a folder here."""
    for folder in (*root.glob("job-*/*"), *root.glob("meas-*/*")):
        if folder.name.isdigit() and folder.is_dir() and not folder.is_symlink():
            yield folder.parent.name, int(folder.name), folder


def snapshot_folders(root: Path) -> Iterator[tuple[str, Path]]:
    """`(job, folder)` of every job that has snapshots here."""
    for folder in root.glob(f"job-*/{_SNAPSHOTS}"):
        if folder.is_dir() and not folder.is_symlink():
            yield folder.parent.name, folder
