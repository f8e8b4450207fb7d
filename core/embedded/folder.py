"""Folders and files that only their owner can read."""

import os
import re
import secrets
import stat
import tempfile
from pathlib import Path

from core.embedded.account import Account
from core.embedded.errors import StackError

LONGEST_SOCKET_PATH = 103
"""Most bytes of a Unix socket's path: Linux allows 107, macOS 103."""

SAFE_PATH = re.compile(r"/[A-Za-z0-9._/-]*")
"""Paths that need no quoting in a URL, in a configuration file or in a comma-separated list."""


def make_data_folder(data: Path) -> Path:
    """Makes the data folder where it is missing, and returns its absolute path. Existing modes are left alone.

    The mode is 0700, or 0711 where root makes it: PostgreSQL's own user must pass through, and the folder's entries are
    private themselves."""
    data = data.resolve()
    if not data.exists():
        data.mkdir(parents=True, mode=0o700)
        data.chmod(0o711 if os.geteuid() == 0 else 0o700)
    if not data.is_dir():
        raise StackError(f"{data} is not a folder.")
    return data


def make_private(folder: Path, owner: Account | None = None) -> Path:
    """Makes a folder for its owner alone, where it is missing."""
    if not folder.exists():
        folder.mkdir(mode=0o700)
        if owner is not None:
            os.chown(folder, owner.uid, owner.gid)
    return folder


def make_passage(folder: Path, account: Account | None) -> Path:
    """Makes a folder of root's that only the account's group can pass through; without an account, a private one."""
    if account is None:
        return make_private(folder)
    if not folder.exists():
        folder.mkdir(mode=0o700)
        os.chown(folder, 0, account.gid)
        folder.chmod(0o710)
    return folder


def write_private(path: Path, text: str) -> None:
    """Writes a file of mode 0600, whole or not at all; it is on disk when this returns."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)


def read_or_create_password(path: Path) -> str:
    """The password in a file of mode 0600. A missing file is written with a new one (256 bits, hexadecimal)."""
    try:
        return path.read_text().strip()
    except FileNotFoundError:
        write_private(path, secrets.token_hex(32) + "\n")
        return path.read_text().strip()


def socket_folder(preferred: Path, name: str, record: Path, owner: Account | None = None) -> Path:
    """A private folder for the socket `name`: `preferred`, or a short one whose path `record` keeps."""
    if _fits(preferred / name):
        return make_private(preferred, owner)
    uid = owner.uid if owner is not None else os.geteuid()
    recorded = recorded_socket_folder(preferred, name, record)
    if recorded is not None and _is_private(recorded, uid):
        return recorded
    # /tmp and not $TMPDIR, which may be long itself. mkdtemp's name cannot be guessed, and its mode is 0700
    folder = Path(tempfile.mkdtemp(prefix="unlearn-", dir="/tmp"))
    if owner is not None:
        os.chown(folder, owner.uid, owner.gid)
    write_private(record, f"{folder}\n")
    return folder


def recorded_socket_folder(preferred: Path, name: str, record: Path) -> Path | None:
    """The folder that `socket_folder` returned; None if it was not called yet."""
    if _fits(preferred / name):
        return preferred
    return Path(record.read_text().strip()) if record.exists() else None


def _fits(path: Path) -> bool:
    return len(os.fsencode(path)) <= LONGEST_SOCKET_PATH and SAFE_PATH.fullmatch(str(path)) is not None


def _is_private(folder: Path, uid: int) -> bool:
    """Whether the folder is still ours: /tmp is cleaned now and then, and another user can take a freed name."""
    try:
        entry = folder.lstat()
    except FileNotFoundError:
        return False
    return stat.S_ISDIR(entry.st_mode) and entry.st_uid == uid and stat.S_IMODE(entry.st_mode) == 0o700
