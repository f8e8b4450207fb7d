"""The embedded PostgreSQL: a password on every connection, no TCP, a socket that only its owner reaches."""

import os
import secrets
import shutil
import signal
import subprocess
import time
from functools import partial
from pathlib import Path

import psutil

from core.embedded.account import Account, can_enter, initdb_account, server_account
from core.embedded.errors import StackError
from core.embedded.folder import make_passage, make_private, read_or_create_password, socket_folder, write_private
from core.embedded.process import find_process, launch_server, stop_process, tail, wait_for_exit, wait_until
from core.embedded.software import POSTGRES_MAJOR, postgres_software, readable_software

SOCKET = ".s.PGSQL.5432"
SUPERUSER = "postgres"
NAME = "unlearn"
"""The database, and the role that owns it and nothing else."""
SERVICE, SIGNER = f"{NAME}_service", f"{NAME}_signer"
"""The roles that the service and the signer connect as; `core.records.roles` says what they may do."""

ROOTS_STATE = Path("/var/lib/unlearn")
"""The folder of the files where root starts the server on a data folder that no other user can reach."""

SETTINGS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "max_connections": "200",
    # a statement may contain a record's text: errors in the log name no values, and no statement is logged
    "log_error_verbosity": "terse",
    "log_min_error_statement": "panic",
}

READY_SECONDS = 300.0
"""Long, because crash recovery after a power loss replays the log first."""

ORPHANS_SECONDS = 15.0
"""A killed server takes a moment to end, and its backends a little longer; until then a new server refuses to start."""

END_SECONDS = 5.0
"""How long a server that takes no connection may need to end, if it was killed."""


class Postgres:
    """The server of one data folder. Making this object touches nothing."""

    def __init__(self, data: Path) -> None:
        self.folder = data / "postgres"
        self._started: subprocess.Popen[bytes] | None = None

    @property
    def state_folder(self) -> Path:
        """The folder of cluster, software and socket: in the data folder, or the one that the file `place` names."""
        record = self.folder / "place"
        return Path(record.read_text().strip()) if record.exists() else self.folder

    @property
    def cluster(self) -> Path:
        return self.state_folder / "cluster"

    def process(self) -> psutil.Process | None:
        """The server's process, if it runs."""
        try:
            return find_process(self.cluster / "postmaster.pid", names=["postgres"])
        except PermissionError as error:
            raise StackError(f"The database in {self.folder} belongs to another user. Start as that user.") from error

    def url(self, role: str = NAME, database: str = NAME) -> str:
        """The running server's address for SQLAlchemy with asyncpg. Raises StackError where none runs."""
        try:
            folder = self._status()[4]
        except IndexError as error:
            raise StackError(f"No PostgreSQL runs in {self.folder}.") from error
        return f"postgresql+asyncpg://{role}:{self._password(role)}@/{database}?host={folder}"

    def start(self) -> None:
        """Starts the server, or takes over a running one; returns when it takes connections."""
        process = self.process()
        if process is not None and self._take_over(process):
            return
        account = server_account()
        make_passage(self.folder, account)
        self._choose_state_folder(account)
        software = readable_software(postgres_software(), account, self.state_folder)
        self._check_or_make_cluster(software, account)
        self._launch(software, account)
        self._make_database()

    def _take_over(self, process: psutil.Process) -> bool:
        """Waits until the running server serves; False if it ended: a server killed a moment ago still looks alive."""
        if not wait_until(partial(self._is_ready, process.pid), process, seconds=READY_SECONDS):
            return False
        try:
            self._make_database()
        except StackError:
            if not wait_for_exit(process, seconds=END_SECONDS):
                raise
            return False
        return True

    def stop(self) -> None:
        """Stops the server: sessions are cut, data is safe. Does nothing where none runs."""
        process = self.process()
        if process is not None:
            stop_process(process, [(signal.SIGINT, 60.0), (signal.SIGQUIT, 10.0)])
        if self._started is not None:
            self._started.poll()  # reaps the child process

    def _password(self, role: str) -> str:
        path = self.folder / f"{role}.password"
        if not path.exists() and self.cluster.exists():
            raise StackError(f"{path} is gone: without it, nobody can enter the database. Restore it from a backup.")
        return read_or_create_password(path)

    def _status(self) -> list[str]:
        """The lines of postmaster.pid: pid, data folder, start time, port, socket folder, address, memory, state."""
        try:
            return (self.cluster / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return []

    def _is_ready(self, pid: int) -> bool:
        status = self._status()  # perhaps still of a server that was killed
        return len(status) >= 8 and status[0].strip() == str(pid) and status[7].strip() == "ready"

    def _choose_state_folder(self, account: Account | None) -> None:
        """Records a state folder under /var/lib where PostgreSQL's own user cannot reach the data folder."""
        record = self.folder / "place"
        if record.exists():
            if not self.state_folder.is_dir():
                message = f"The database of {self.folder.parent} was kept in {self.state_folder}, which is gone."
                raise StackError(message)
        elif account is not None and not self.cluster.exists() and not can_enter(account, self.folder):
            ROOTS_STATE.mkdir(mode=0o711, parents=True, exist_ok=True)
            state_folder = make_passage(ROOTS_STATE / secrets.token_hex(6), account)
            if not can_enter(account, state_folder):
                raise StackError(
                    f"Started as root, PostgreSQL runs as a user of its own, who can enter neither {self.folder} nor "
                    f"{state_folder}. Put the data folder where other users may pass through, or start as an ordinary "
                    "user."
                )
            write_private(record, f"{state_folder}\n")

    def _check_or_make_cluster(self, software: Path, account: Account | None) -> None:
        if not self.cluster.exists():
            self._initialise(software, account)
        owner = self.cluster.stat().st_uid
        if owner != (account.uid if account else os.geteuid()):
            raise StackError(f"The database in {self.cluster} belongs to the user {owner}. Start as that user.")
        major = (self.cluster / "PG_VERSION").read_text().strip()
        if major != str(POSTGRES_MAJOR):
            raise StackError(
                f"{self.cluster} was made by PostgreSQL {major}, and this version brings PostgreSQL {POSTGRES_MAJOR}. "
                f"Dump it with the version that made it (pg_dumpall), move the folder away, and restore the dump."
            )

    def _initialise(self, software: Path, account: Account | None) -> None:
        """Makes the cluster under a temporary name, so that an interrupted start leaves no half-made cluster."""
        draft = self.state_folder / "cluster.new"
        if draft.exists():
            shutil.rmtree(draft)
        creator = initdb_account(account) if account else None
        make_private(draft, creator)
        password = self.state_folder / f"initdb.{secrets.token_hex(4)}"
        write_private(password, read_or_create_password(self.folder / f"{SUPERUSER}.password") + "\n")
        read_or_create_password(self.folder / f"{NAME}.password")
        if creator is not None:
            os.chown(password, creator.uid, creator.gid)
        log = self.folder / "initdb.log"
        try:
            argv = [str(software / "bin" / "initdb"), "-D", str(draft), "-U", SUPERUSER, f"--pwfile={password}"]
            argv += ["--auth=scram-sha-256", "--encoding=UTF8", "--locale=C"]
            argv += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
            initdb = launch_server(argv, log=log, cwd=self.state_folder, account=creator)
            if initdb.wait(300) != 0:
                raise StackError(f"PostgreSQL could not set up its files:\n{tail(log)}")
        finally:
            password.unlink()
        if account is not None:
            for path in [draft, *draft.rglob("*")]:
                os.chown(path, account.uid, account.gid, follow_symlinks=False)
        draft.replace(self.cluster)
        log.unlink()

    def _disown_pid_files(self, sockets: Path) -> None:
        """Changes the pid files of a dead server whose pid now belongs to another program, or to a zombie.

        PostgreSQL would take that process for a running server and refuse to start. It ignores its own parent's pid,
        and still checks whether the shared memory named in the same file is in use. So this process's pid replaces the
        old one, and postmaster.pid is never removed. Where the pid is a living PostgreSQL's, nothing is changed, and
        the new server refuses to start."""
        status = self._status()
        try:
            process = psutil.Process(int(status[0]))
            stale = process.status() == psutil.STATUS_ZOMBIE or not process.name().startswith("postgres")
        except (IndexError, ValueError, psutil.NoSuchProcess):
            stale = True
        if stale:
            (sockets / f"{SOCKET}.lock").unlink(missing_ok=True)
            if status:
                (self.cluster / "postmaster.pid").write_text("\n".join([str(os.getpid()), *status[1:], ""]))

    def _launch(self, software: Path, account: Account | None) -> None:
        sockets = socket_folder(self.state_folder / "run", SOCKET, self.folder / "socket.folder", account)
        argv = [str(software / "bin" / "postgres"), "-D", str(self.cluster), "-k", str(sockets)]
        for name, value in SETTINGS.items():
            argv += ["-c", f"{name}={value}"]
        log = self.folder / "postgres.log"
        deadline = time.monotonic() + ORPHANS_SECONDS
        while True:
            self._disown_pid_files(sockets)
            log_size = log.stat().st_size if log.exists() else 0
            started = self._started = launch_server(argv, log=log, cwd=self.state_folder, account=account)
            if wait_until(partial(self._is_ready, started.pid), started, seconds=READY_SECONDS):
                return
            output = tail(log, start=log_size)
            orphans = "shared memory block" in output or "already exists" in output
            if not orphans or time.monotonic() > deadline:
                raise StackError(f"PostgreSQL did not start; the end of {log}:\n{output}")
            time.sleep(0.2)

    def _make_database(self) -> None:
        """Makes the service's role and database where they are missing. No password is on psql's command line."""
        # the two roles came later than some clusters: their passwords are made where they are missing
        passwords = {role: read_or_create_password(self.folder / f"{role}.password") for role in (SERVICE, SIGNER)}
        passwords[NAME] = self._password(NAME)
        roles = "".join(_role_statements(role, password) for role, password in passwords.items())
        statements = f"""
            {roles}
            SELECT 'CREATE DATABASE {NAME} OWNER {NAME}'
             WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = '{NAME}') \\gexec
        """  # noqa: S608 - a constant and hexadecimal digits
        psql = postgres_software() / "bin" / "psql"
        result = subprocess.run(  # noqa: S603 - it contains no user's input
            [str(psql), "-Xq", "-v", "ON_ERROR_STOP=1", "-h", self._status()[4], "-U", SUPERUSER, "-d", "postgres"],
            input=statements.encode(),
            env={"PATH": os.defpath, "LC_ALL": "C", "PGPASSWORD": self._password(SUPERUSER)},
            capture_output=True,
            check=False,
            timeout=60,
        )
        if result.returncode != 0:
            raise StackError(
                f"The service's database could not be made: {result.stderr.decode(errors='replace').strip()}"
            )


def _role_statements(role: str, password: str) -> str:
    """Returns psql's statements that make the role where it is missing, and set its password."""
    return f"""
        SELECT 'CREATE ROLE {role} LOGIN' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{role}') \\gexec
        ALTER ROLE {role} PASSWORD '{password}';
    """  # noqa: S608 - constants and hexadecimal digits
