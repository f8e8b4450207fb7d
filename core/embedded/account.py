"""The account that runs PostgreSQL when root starts it: PostgreSQL refuses root, and no existing user should own the
database."""

import os
import pwd
import subprocess
from dataclasses import dataclass
from pathlib import Path

from core.embedded.errors import StackError

UNASSIGNED_ID = 60706
"""A user and group id that Linux distributions leave unassigned (systemd's UIDS-GIDS: 60706 to 61183 are unused). No
other process has this id, so none can reach the server's files, signals or shared memory, and /etc/passwd stays
unchanged. The id fits into containers whose user namespace maps 65536 ids."""


SHELL = "/bin/sh"


@dataclass(frozen=True)
class Account:
    """The ids a server's processes run under."""

    uid: int
    gid: int


def server_account() -> Account | None:
    """The account that PostgreSQL runs under; None where it runs as the user who starts it."""
    return Account(UNASSIGNED_ID, UNASSIGNED_ID) if os.geteuid() == 0 else None


def initdb_account(account: Account) -> Account:
    """The account that runs initdb, which insists on a user with a name: `nobody`, or else any user but root.

    The account's group keeps that user's own processes out. The caller gives initdb's files to `account` afterwards."""
    try:
        uid = pwd.getpwnam("nobody").pw_uid
    except KeyError:
        uid = next((entry.pw_uid for entry in pwd.getpwall() if entry.pw_uid != 0), 0)
    if uid == 0:
        raise StackError("PostgreSQL cannot run as root, and this system has no other user. Start as an ordinary user.")
    return Account(uid, account.gid)


def can_enter(account: Account, folder: Path) -> bool:
    """Whether the account can enter the folder. A `cd` of its own finds out: the kernel knows ACLs and mounts."""
    return can_run(account, [SHELL, "-c", 'cd -- "$1"', "sh", str(folder)])


def can_run(account: Account, argv: list[str]) -> bool:
    """Whether the command succeeds when the account runs it.

    Raises StackError where root may not become another user (a container without that capability)."""
    try:
        result = subprocess.run(  # noqa: S603 - the callers' own commands
            argv,
            user=account.uid,
            group=account.gid,
            extra_groups=[],
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=False,
            timeout=30,
        )
    except OSError as error:
        if isinstance(error, PermissionError) and argv[0] != SHELL:
            return False  # the account cannot read the program itself
        raise StackError(
            f"PostgreSQL cannot run as root, and root cannot become another user here ({error.strerror}). "
            "Start as an ordinary user, or name a server of your own in DATABASE_URL."
        ) from error
    return result.returncode == 0
