"""The embedded servers: access, survival of crashes, clean-up. Real processes, real faults."""

import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import redis
from kombu import Connection
from sqlalchemy import make_url
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from core.embedded import Stack, StackError, make_data_folder, running
from core.embedded.account import UNASSIGNED_ID
from core.queue import redis_py_url
from tests.servers import execute

AS_ROOT = os.geteuid() == 0


async def value(url: str, statement: str) -> object:
    engine = create_async_engine(url, poolclass=NullPool)
    try:
        async with engine.connect() as connection:
            return (await connection.exec_driver_sql(statement)).scalar()
    finally:
        await engine.dispose()


def client(stack: Stack) -> redis.Redis:
    return redis.Redis.from_url(redis_py_url(stack.redis_url))


def pid(process: psutil.Process | None) -> int:
    assert process is not None
    return process.pid


async def test_both_servers_answer_and_their_data_survives_a_restart(data: Path) -> None:
    assert not running(data)
    stack = Stack.start(data)
    assert running(data)
    await execute(stack.database_url, "CREATE TABLE kept (what text)", "INSERT INTO kept VALUES ('über 𝛼')")
    with client(stack) as connection:
        connection.rpush("list", "hint")
        assert connection.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
    urls = (stack.database_url, stack.redis_url)
    stack.stop()
    assert not running(data)

    restarted = Stack.start(data)
    assert (restarted.database_url, restarted.redis_url) == urls
    assert await value(restarted.database_url, "SELECT what FROM kept") == "über 𝛼"
    with client(restarted) as connection:
        assert connection.lrange("list", 0, -1) == [b"hint"]
    restarted.stop()


def test_celerys_transport_reaches_redis_by_the_same_url(stack: Stack) -> None:
    with Connection(stack.redis_url) as connection, connection.SimpleQueue("embedded-test") as queue:
        queue.put({"hint": 1})
        message = queue.get(timeout=60)
        assert message.payload == {"hint": 1}
        message.ack()


async def test_both_servers_refuse_a_client_without_the_password(stack: Stack) -> None:
    socket = make_url(stack.database_url).query["host"]
    for role in ("unlearn", "postgres"):
        for password in ("", ":", ":postgres", ":" + "x" * 64):
            with pytest.raises(Exception, match="password"):
                await value(f"postgresql+asyncpg://{role}{password}@/unlearn?host={socket}", "SELECT 1")
    without_password = redis_py_url(stack.redis_url).replace(make_url(stack.redis_url).password or "", "")
    with redis.Redis.from_url(without_password) as connection, pytest.raises(redis.AuthenticationError):
        connection.ping()


async def test_the_services_role_owns_its_database_and_is_no_superuser(stack: Stack) -> None:
    assert await value(stack.database_url, "SELECT current_setting('is_superuser')") == "off"
    assert await value(stack.superuser_url, "SELECT current_setting('is_superuser')") == "on"
    with pytest.raises(Exception, match="permission denied"):
        await execute(stack.database_url, "COPY (SELECT 1) TO PROGRAM 'cat'")


async def test_every_hba_line_asks_for_a_password(stack: Stack) -> None:
    methods = "SELECT string_agg(DISTINCT auth_method, ',') FROM pg_hba_file_rules"
    assert await value(stack.superuser_url, methods) == "scram-sha-256"


def test_neither_server_listens_on_tcp(stack: Stack) -> None:
    for process in (stack.postgres.process(), stack.redis.process()):
        assert process is not None
        assert [link for link in process.net_connections("inet") if link.status == psutil.CONN_LISTEN] == []


def test_no_secret_is_on_a_command_line_or_in_an_environment(stack: Stack) -> None:
    secrets = [make_url(stack.database_url).password, make_url(stack.superuser_url).password]
    secrets.append(make_url(stack.redis_url).password)
    for process in (stack.postgres.process(), stack.redis.process()):
        assert process is not None
        exposed = f"{process.cmdline()} {process.environ()}"
        assert not [secret for secret in secrets if secret is None or secret in exposed]


def test_no_file_is_readable_by_other_users(stack: Stack) -> None:
    for path in stack.data.rglob("*"):
        mode = stat.S_IMODE(path.lstat().st_mode)
        allowed = 0o710 if AS_ROOT and path == stack.data / "postgres" else 0o700
        assert mode & ~allowed & 0o077 == 0, f"{path} has mode {mode:o}"


@pytest.mark.skipif(not AS_ROOT, reason="only root can look from another user's eyes")
def test_another_local_user_reaches_neither_sockets_nor_files(stack: Stack) -> None:
    script = """
import os, socket, sys
for path in sys.argv[1:3]:
    try:
        socket.socket(socket.AF_UNIX).connect(path)
    except PermissionError:
        continue
    raise SystemExit(f"reached {path}")
for path in sys.argv[3:]:
    try:
        os.listdir(path) if os.path.isdir(path) else open(path)
    except PermissionError:
        continue
    raise SystemExit(f"read {path}")
"""
    sockets = [
        f"{make_url(stack.database_url).query['host']}/.s.PGSQL.5432",
        f"/{make_url(stack.redis_url).database}".split("?")[0].replace("//", "/"),
    ]
    files = ["postgres", "postgres/cluster", "postgres/postgres.password", "redis", "redis/redis.conf"]
    nobody = 65534
    result = subprocess.run(
        ["/usr/bin/env", "python3", "-c", script, *sockets, *(str(stack.data / file) for file in files)],
        user=nobody,
        group=nobody,
        extra_groups=[],
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
    )
    assert (result.returncode, result.stderr) == (0, "")


def test_modes_of_existing_folders_are_left_alone(folder: Path) -> None:
    private = folder / "home"
    private.mkdir(mode=0o700)
    data = private / "data"
    data.mkdir(mode=0o700)
    stack = Stack.start(data)
    state_folder = stack.postgres.state_folder
    try:
        assert [stat.S_IMODE(path.stat().st_mode) for path in (folder, private, data)] == [0o711, 0o700, 0o700]
        assert stat.S_IMODE((state_folder / "cluster").stat().st_mode) == 0o700
    finally:
        stack.stop()
        if state_folder != data / "postgres":
            shutil.rmtree(state_folder)
    if AS_ROOT:
        assert state_folder.parent == Path("/var/lib/unlearn")
        with pytest.raises(StackError, match="which is gone"):
            Stack.start(data)


def test_a_new_data_folder_is_its_owners(folder: Path) -> None:
    data = make_data_folder(folder / "deep" / "data")
    assert stat.S_IMODE(data.stat().st_mode) == (0o711 if AS_ROOT else 0o700)
    (folder / "file").write_text("")
    with pytest.raises(StackError, match="not a folder"):
        make_data_folder(folder / "file")


async def test_a_path_too_long_or_too_odd_for_a_socket_is_replaced_by_a_short_private_one(folder: Path) -> None:
    data = folder / ("long" * 25) / 'a, "b" c' / "data"
    make_data_folder(data)
    for parent in data.parents:
        if parent.is_relative_to(folder):
            parent.chmod(0o711)
    stack = Stack.start(data)
    try:
        assert await value(stack.database_url, "SELECT 1") == 1
        with client(stack) as connection:
            assert connection.ping()
        sockets = [Path((data / name / "socket.folder").read_text().strip()) for name in ("postgres", "redis")]
        for socket in sockets:
            assert stat.S_IMODE(socket.stat().st_mode) == 0o700
        url = stack.database_url
        stack.stop()
        sockets[1].joinpath("redis.sock").unlink(missing_ok=True)
        sockets[1].rmdir()  # as if /tmp had been cleaned
        stack = Stack.start(data)
        assert stack.database_url == url
        with client(stack) as connection:
            assert connection.ping()
        sockets.append(Path((data / "redis" / "socket.folder").read_text().strip()))
    finally:
        stack.stop()
    for socket in sockets:
        shutil.rmtree(socket, ignore_errors=True)


STARTING = """
import json, sys, time
from pathlib import Path
from core.embedded import Stack
stack = Stack.start(Path(sys.argv[1]))
print(json.dumps([stack.postgres.process().pid, stack.redis.process().pid]), flush=True)
time.sleep(600)
"""


def test_servers_outlive_a_killed_starter_and_the_next_start_takes_them_over(data: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", STARTING, str(data)], stdout=subprocess.PIPE) as starter:
        assert starter.stdout is not None
        pids = json.loads(starter.stdout.readline())
        sessions = [os.getsid(pid) for pid in pids]
        starter_session = os.getsid(starter.pid)
        starter.kill()
    assert starter_session not in sessions
    stack = Stack.start(data)
    assert [pid(stack.postgres.process()), pid(stack.redis.process())] == pids
    stack.stop()
    assert not any(psutil.pid_exists(pid) and psutil.Process(pid).status() != "zombie" for pid in pids)


async def test_after_a_kill_of_both_servers_the_next_start_recovers(data: Path) -> None:
    stack = Stack.start(data)
    await execute(stack.database_url, "CREATE TABLE kept AS SELECT 7 AS number")
    for process in (stack.postgres.process(), stack.redis.process()):
        assert process is not None
        process.send_signal(signal.SIGKILL)
    restarted = Stack.start(data)
    assert await value(restarted.database_url, "SELECT number FROM kept") == 7
    with client(restarted) as connection:
        assert connection.ping()
    stack.stop()
    restarted.stop()


def test_a_stale_pid_file_harms_neither_the_server_nor_the_process_that_has_the_pid_now(data: Path) -> None:
    same_user = UNASSIGNED_ID if AS_ROOT else None  # PostgreSQL regards only processes of its own user
    stranger = subprocess.Popen(["/bin/sleep", "600"], user=same_user, cwd=data / "postgres" / "cluster")
    try:
        lines = [str(stranger.pid), str(data / "postgres" / "cluster"), "1700000000", "5432", "/nowhere", "", "1 2"]
        (data / "postgres" / "cluster" / "postmaster.pid").write_text("\n".join([*lines, "ready   ", ""]))
        (data / "postgres" / "run" / ".s.PGSQL.5432.lock").write_text("\n".join([*lines, ""]))
        (data / "redis" / "redis.pid").write_text(f"{stranger.pid}\n")
        assert not running(data)
        Stack(data).stop()
        stack = Stack.start(data)
        assert running(data)
        stack.stop()
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_servers_of_another_folder_are_neither_taken_over_nor_stopped(data: Path, stack: Stack) -> None:
    pids = [pid(stack.postgres.process()), pid(stack.redis.process())]
    (data / "postgres" / "cluster" / "postmaster.pid").write_text(f"{pids[0]}\n")
    (data / "redis" / "redis.pid").write_text(f"{pids[1]}\n")
    assert not running(data)
    Stack(data).stop()
    assert [pid(stack.postgres.process()), pid(stack.redis.process())] == pids


def test_a_start_that_was_interrupted_in_initdb_begins_again(data: Path) -> None:
    (data / "postgres" / "cluster").rename(data / "postgres" / "cluster.new")
    (data / "postgres" / "cluster.new" / "PG_VERSION").unlink()
    stack = Stack.start(data)
    assert running(data)
    stack.stop()
    assert not (data / "postgres" / "cluster.new").exists()


def test_a_cluster_of_another_major_version_is_refused_with_advice(data: Path) -> None:
    (data / "postgres" / "cluster" / "PG_VERSION").write_text("17\n")
    with pytest.raises(StackError, match=r"PostgreSQL 17.*pg_dumpall"):
        Stack.start(data)
    assert not running(data)


def test_a_lost_password_is_named_and_not_replaced(data: Path) -> None:
    (data / "postgres" / "unlearn.password").unlink()
    with pytest.raises(StackError, match=r"unlearn\.password is gone"):
        Stack.start(data)
    (data / "postgres" / "postgres.password").write_text("wrong")
    (data / "postgres" / "unlearn.password").write_text("new")
    with pytest.raises(StackError, match="could not be made"):
        Stack.start(data)
    assert not running(data)


@pytest.mark.skipif(not AS_ROOT, reason="only root can make files of another user")
def test_a_cluster_of_another_user_is_refused(data: Path) -> None:
    os.chown(data / "postgres" / "cluster", 65534, 65534)
    with pytest.raises(StackError, match="belongs to the user 65534"):
        Stack.start(data)


async def test_environment_variables_for_other_servers_do_not_reach_the_embedded_ones(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, setting in {"PGPORT": "7777", "PGHOST": "example.org", "PGDATA": "/nowhere"}.items():
        monkeypatch.setenv(name, setting)
    stack = Stack.start(data)
    monkeypatch.undo()
    assert await value(stack.database_url, "SELECT 1") == 1
    stack.stop()


async def test_errors_in_the_servers_log_hold_no_values(data: Path) -> None:
    stack = Stack.start(data)
    await execute(stack.database_url, "CREATE TABLE secrets (what text PRIMARY KEY, number int CHECK (number > 0))")
    for statement in (
        "INSERT INTO secrets VALUES ('canary-4711', -1)",
        "INSERT INTO secrets VALUES ('canary-4711', 1), ('canary-4711', 2)",
    ):
        with pytest.raises(Exception, match="violates"):
            await execute(stack.database_url, statement)
    stack.stop()
    log = (data / "postgres" / "postgres.log").read_text()
    assert "violates" in log
    assert "canary" not in log


def test_a_redis_that_ignores_sigterm_is_killed(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stack = Stack.start(data)
    process = stack.redis.process()
    assert process is not None
    monkeypatch.setattr("core.embedded.redis.PATIENCE", 0.5)
    process.suspend()
    started = time.monotonic()
    stack.stop()
    assert time.monotonic() - started < 15
    assert not running(data)
