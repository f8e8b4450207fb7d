"""A PostgreSQL of our own: passwords on every connection, no TCP, a socket that only its owner reaches."""

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
from core.embedded.software import POSTGRES_MAJOR, postgres_software, within_reach

SOCKET = ".s.PGSQL.5432"
SUPERUSER = "postgres"
NAME = "unlearn"
"""The service's role and its database; the role owns that database and nothing else."""

ROOTS_STATE = Path("/var/lib/unlearn")
"""Where the files go if root starts the server on a data folder that no other user can pass through to."""

SETTINGS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "max_connections": "200",
    # what a statement was about can be a record's text: errors name no values, and no statement is written down
    "log_error_verbosity": "terse",
    "log_min_error_statement": "panic",
}

READY_SECONDS = 300.0
"""Crash recovery after a power loss replays the log first."""

ORPHANS_SECONDS = 15.0
"""A killed server takes a moment to be gone, its backends a little more; until then a new one is refused."""

LAST_BREATH_SECONDS = 5.0


class Postgres:
    """The server of one data folder. Making this object touches nothing."""

    def __init__(self, data: Path) -> None:
        self.folder = data / "postgres"
        self._started: subprocess.Popen[bytes] | None = None

    @property
    def place(self) -> Path:
        """Where cluster, software and socket are: in the data folder, or where `place` says."""
        record = self.folder / "place"
        return Path(record.read_text().strip()) if record.exists() else self.folder

    @property
    def cluster(self) -> Path:
        return self.place / "cluster"

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
        """Starts the server, or takes over the one that runs already; returns when it takes connections."""
        process = self.process()
        if process is not None and self._take_over(process):
            return
        account = server_account()
        make_passage(self.folder, account)
        self._choose_place(account)
        software = within_reach(postgres_software(), account, self.place)
        self._check_or_make_cluster(software, account)
        self._launch(software, account)
        self._make_database()

    def _take_over(self, process: psutil.Process) -> bool:
        """Whether the running server serves; False if it ended meanwhile: one killed a moment ago still looks alive."""
        if not wait_until(partial(self._is_ready, process.pid), process, seconds=READY_SECONDS):
            return False
        try:
            self._make_database()
        except StackError:
            if not wait_for_exit(process, seconds=LAST_BREATH_SECONDS):
                raise
            return False
        return True

    def stop(self) -> None:
        """Ends the server: sessions are cut, data is safe. Does nothing where none runs."""
        process = self.process()
        if process is not None:
            stop_process(process, [(signal.SIGINT, 60.0), (signal.SIGQUIT, 10.0)])
        if self._started is not None:
            self._started.poll()  # collects it

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
        status = self._status()  # which may still be that of a server that was killed
        return len(status) >= 8 and status[0].strip() == str(pid) and status[7].strip() == "ready"

    def _choose_place(self, account: Account | None) -> None:
        """For PostgreSQL's own user: the data folder where it can pass through, else one under /var/lib, recorded."""
        record = self.folder / "place"
        if record.exists():
            if not self.place.is_dir():
                raise StackError(f"The database of {self.folder.parent} was kept in {self.place}, which is gone.")
        elif account is not None and not self.cluster.exists() and not can_enter(account, self.folder):
            ROOTS_STATE.mkdir(mode=0o711, parents=True, exist_ok=True)
            place = make_passage(ROOTS_STATE / secrets.token_hex(6), account)
            if not can_enter(account, place):
                raise StackError(
                    f"Started as root, PostgreSQL runs as a user of its own, who can enter neither {self.folder} nor "
                    f"{place}. Put the data folder where other users may pass through, or start as an ordinary user."
                )
            write_private(record, f"{place}\n")

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
        """Makes the cluster beside its final name, so that a start that is cut short leaves no half of one."""
        draft = self.place / "cluster.new"
        if draft.exists():
            shutil.rmtree(draft)
        maker = initdb_account(account) if account else None
        make_private(draft, maker)
        password = self.place / f"initdb.{secrets.token_hex(4)}"
        write_private(password, read_or_create_password(self.folder / f"{SUPERUSER}.password") + "\n")
        read_or_create_password(self.folder / f"{NAME}.password")
        if maker is not None:
            os.chown(password, maker.uid, maker.gid)
        log = self.folder / "initdb.log"
        try:
            argv = [str(software / "bin" / "initdb"), "-D", str(draft), "-U", SUPERUSER, f"--pwfile={password}"]
            argv += ["--auth=scram-sha-256", "--encoding=UTF8", "--locale=C"]
            argv += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
            made = launch_server(argv, log=log, cwd=self.place, account=maker)
            if made.wait(300) != 0:
                raise StackError(f"PostgreSQL could not set up its files:\n{tail(log)}")
        finally:
            password.unlink()
        if account is not None:
            for path in [draft, *draft.rglob("*")]:
                os.chown(path, account.uid, account.gid, follow_symlinks=False)
        draft.replace(self.cluster)
        log.unlink()

    def _disown_pid_files(self, sockets: Path) -> None:
        """Lets the new server pass where a dead one's number belongs to another program now, or to a zombie.

        PostgreSQL would take either for itself. Its own parent's number it passes over, and still asks whether the
        shared memory named in the same file is in use: so the number is replaced, and the file never removed. Where
        the number is a living PostgreSQL's, nothing is touched, and the new server refuses to start."""
        status = self._status()
        try:
            process = psutil.Process(int(status[0]))
            dead = process.status() == psutil.STATUS_ZOMBIE or not process.name().startswith("postgres")
        except (IndexError, ValueError, psutil.NoSuchProcess):
            dead = True
        if dead:
            (sockets / f"{SOCKET}.lock").unlink(missing_ok=True)
            if status:
                (self.cluster / "postmaster.pid").write_text("\n".join([str(os.getpid()), *status[1:], ""]))

    def _launch(self, software: Path, account: Account | None) -> None:
        sockets = socket_folder(self.place / "run", SOCKET, self.folder / "socket.folder", account)
        argv = [str(software / "bin" / "postgres"), "-D", str(self.cluster), "-k", str(sockets)]
        for name, value in SETTINGS.items():
            argv += ["-c", f"{name}={value}"]
        log = self.folder / "postgres.log"
        deadline = time.monotonic() + ORPHANS_SECONDS
        while True:
            self._disown_pid_files(sockets)
            written = log.stat().st_size if log.exists() else 0
            started = self._started = launch_server(argv, log=log, cwd=self.place, account=account)
            if wait_until(partial(self._is_ready, started.pid), started, seconds=READY_SECONDS):
                return
            said = tail(log, start=written)
            held = "shared memory block" in said or "already exists" in said
            if not held or time.monotonic() > deadline:
                raise StackError(f"PostgreSQL did not start; the end of {log}:\n{said}")
            time.sleep(0.2)

    def _make_database(self) -> None:
        """The service's role and database, if they are not there. No password is on psql's command line."""
        statements = f"""
            SELECT 'CREATE ROLE {NAME} LOGIN' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{NAME}') \\gexec
            ALTER ROLE {NAME} PASSWORD '{self._password(NAME)}';
            SELECT 'CREATE DATABASE {NAME} OWNER {NAME}'
             WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = '{NAME}') \\gexec
        """  # noqa: S608 - a constant and hexadecimal digits
        psql = postgres_software() / "bin" / "psql"
        done = subprocess.run(  # noqa: S603 - nothing of a user's in it
            [str(psql), "-Xq", "-v", "ON_ERROR_STOP=1", "-h", self._status()[4], "-U", SUPERUSER, "-d", "postgres"],
            input=statements.encode(),
            env={"PATH": os.defpath, "LC_ALL": "C", "PGPASSWORD": self._password(SUPERUSER)},
            capture_output=True,
            check=False,
            timeout=60,
        )
        if done.returncode != 0:
            raise StackError(
                f"The service's database could not be made: {done.stderr.decode(errors='replace').strip()}"
            )
