"""Files in the making, beside the place where they belong. No two writers write to the same."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO
from uuid import uuid4

from api.client.errors import PartInUse

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

WITHOUT_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)
"""Errors of file systems that have no locks, such as some mounts of Lustre and NFS. A part is not guarded there."""


@contextmanager
def resumed_part(part: Path) -> Iterator[BinaryIO]:
    """Yields the part of a file, open at its end, to this writer alone. Raises PartInUse.

    Windows has no such locks: there, two downloads to one place at the same time may spoil the part, which the check
    of its digest then finds.
    """
    with part.open("ab") as sink:
        if fcntl is None:
            yield sink
            return
        try:
            fcntl.flock(sink, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise PartInUse(part) from None
        except OSError as failure:
            if failure.errno not in WITHOUT_LOCKS:
                raise
        # the writer before may have given the file its name between the opening and the lock
        if not part.exists() or not os.path.samestat(os.fstat(sink.fileno()), part.stat()):
            raise PartInUse(part)
        yield sink


def close_before_renaming(sink: BinaryIO) -> None:
    """Closes the part where the system renames no open file: on Windows. Elsewhere its lock is held until the end."""
    if fcntl is None:
        sink.close()


@contextmanager
def whole_file(file: Path) -> Iterator[Path]:
    """Yields a name of this writer's own, and gives the file its place at the end, whole or not at all."""
    part = file.with_name(f".{file.name}.{uuid4().hex}.part")
    try:
        yield part
        part.replace(file)
    finally:
        part.unlink(missing_ok=True)
