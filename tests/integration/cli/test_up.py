"""`unlearn up` starts everything, and stops everything that it started and nothing else."""

import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator

import httpx
import psutil
import pytest

from core.embedded.postgres import Postgres
from core.embedded.redis import Redis
from tests.integration.cli.conftest import CommandLine, free_port
from tests.servers import short_folder


@pytest.fixture
def fresh() -> Iterator[CommandLine]:
    with short_folder() as folder:
        line = CommandLine(folder / "data", free_port())
        yield line
        line("down")


def processes_of(line: CommandLine) -> list[psutil.Process]:
    """Returns every process whose arguments or environment name the data folder."""
    processes = []
    for process in psutil.process_iter():
        try:
            if str(line.data) in " ".join([*process.cmdline(), *process.environ().values()]):
                processes.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
            continue
    return processes


def test_ctrl_c_stops_everything_and_the_state_survives_a_restart(fresh: CommandLine) -> None:
    bystander = subprocess.Popen(["sleep", "300"])
    keys = []
    try:
        for _ in range(2):
            with subprocess.Popen(
                fresh.command("up", "--port", str(fresh.port)),
                env=fresh.environment(),
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
            ) as up:
                assert up.stdout is not None
                lines = []
                for text in up.stdout:
                    lines.append(text)
                    if "is ready" in text:
                        break
                assert up.poll() is None, "".join(lines)
                assert len(processes_of(fresh)) >= 4  # up, API, worker, and at least one server
                admin_key = (fresh.data / "admin.key").read_text().strip()
                headers = {"Authorization": f"Bearer {admin_key}"}
                listed = httpx.get(f"http://127.0.0.1:{fresh.port}/v1/keys", headers=headers, timeout=60).json()
                keys.append([key["id"] for key in listed["data"]])
                up.send_signal(signal.SIGINT)
                up.stdout.read()
                assert up.wait(timeout=60) == 0
            deadline = time.monotonic() + 60
            while (left := processes_of(fresh)) and time.monotonic() < deadline:
                time.sleep(0.1)
            assert left == []
        assert keys[0] == keys[1] != []
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


def test_a_taken_port_is_named_and_nothing_is_left_running(fresh: CommandLine) -> None:
    fresh.data.mkdir()
    (fresh.data / "readyz").write_text("another service, which is ready")
    command = ["python3", "-m", "http.server", str(fresh.port), "--bind", "127.0.0.1", "--directory", str(fresh.data)]
    with subprocess.Popen(command) as other:
        try:
            deadline = time.monotonic() + 60
            while time.monotonic() < deadline:
                try:
                    httpx.get(f"http://127.0.0.1:{fresh.port}/", timeout=60)
                    break
                except httpx.TransportError:
                    time.sleep(0.1)
            done = fresh("up", "--port", str(fresh.port))
        finally:
            other.terminate()
    assert done.returncode == 1
    assert f"could not start: port {fresh.port} cannot be had" in done.stderr
    assert processes_of(fresh) == []


def test_a_server_that_dies_is_started_again(fresh: CommandLine) -> None:
    assert fresh("up", "--port", str(fresh.port), "--detach").returncode == 0
    for server in (Postgres(fresh.data), Redis(fresh.data)):
        process = server.process()
        assert process is not None
        process.kill()
    headers = {"Authorization": f"Bearer {(fresh.data / 'admin.key').read_text().strip()}"}
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        ready = httpx.get(f"http://127.0.0.1:{fresh.port}/readyz", timeout=60).json()
        if ready == {"ready": True, "database": "ok", "storage": "ok", "broker": "ok"}:
            break
        time.sleep(0.2)
    assert httpx.get(f"http://127.0.0.1:{fresh.port}/v1/keys", headers=headers, timeout=60).status_code == 200
    assert ready["broker"] == "ok"
    assert fresh("down").stdout.strip() == "stopped"


def test_down_ends_the_processes_that_a_killed_up_left_behind(fresh: CommandLine) -> None:
    started = fresh("up", "--port", str(fresh.port), "--detach")
    assert started.returncode == 0, started.stdout + started.stderr
    match = re.search(r"\(process (\d+)\)", started.stdout)
    assert match is not None
    up = psutil.Process(int(match[1]))
    up.kill()
    up.wait(timeout=10)
    assert len(processes_of(fresh)) >= 2  # API and worker go on without it
    assert "left behind" in fresh("down").stdout
    assert processes_of(fresh) == []


def test_down_ends_the_service_of_a_command_that_brings_its_own(fresh: CommandLine) -> None:
    """As `unlearn demo` does."""
    program = (
        "import sys, time; from pathlib import Path; from api.cli.data_folder import DataFolder;"
        " from api.cli.service import running_service; folder = DataFolder(Path(sys.argv[1])); folder.prepare()\n"
        "with running_service(folder, port=int(sys.argv[2]), model_roots=[], report=lambda line: None):\n"
        "    print('ready', flush=True); time.sleep(600)"
    )
    command = [sys.executable, "-c", program, str(fresh.data), str(fresh.port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == "ready\n"
        assert len(processes_of(fresh)) >= 3
        assert fresh("down").stdout.strip() == "stopped"
        assert process.wait(timeout=60) == 128 + signal.SIGTERM
        assert process.stderr.read() == ""
    assert processes_of(fresh) == []


def test_a_wrong_folder_and_a_missing_service_are_reported_without_a_traceback(fresh: CommandLine) -> None:
    fresh.data.parent.mkdir(exist_ok=True)
    file = fresh.data.parent / "a-file"
    file.write_text("not a folder")
    for arguments in (("up", "--data", str(file)), ("keys", "create", "officer", "--data", str(file))):
        done = fresh(*arguments)
        assert done.returncode == 2
        assert "Traceback" not in done.stderr
    done = fresh("keys", "create", "officer")
    assert done.returncode == 2
    assert "--data" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_failed_start_is_reported_once(fresh: CommandLine) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", fresh.port))
        taken.listen()
        done = fresh("up", "--port", str(fresh.port), "--detach")
    assert done.returncode == 1
    assert done.stderr.count("could not start") == 1
