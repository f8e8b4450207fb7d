"""`unlearn up`, `down`, `migrate`: the service on one machine."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from api.cli.data_folder import DEFAULT_DATA, AlreadyRunning, DataFolder, DataOption, RunningService
from api.cli.service import READY_SECONDS, Service, StartFailed
from api.cli.stale_processes import StaleProcesses
from core.embedded import Stack
from core.embedded import running as running_servers
from core.embedded.errors import StackError
from core.records.roles import prepare
from core.settings import settings

out, err = Console(highlight=False), Console(stderr=True, highlight=False)

Host = Annotated[str, typer.Option(help="The address that the API listens on.")]
Port = Annotated[int, typer.Option(help="The port that the API listens on.")]
ModelRoots = Annotated[
    list[Path] | None,
    typer.Option("--model-root", help="A directory that models may be registered from. May be repeated."),
]


def up(
    data: DataOption = DEFAULT_DATA,
    host: Host = "127.0.0.1",
    port: Port = 8000,
    model_root: ModelRoots = None,
    detach: Annotated[bool, typer.Option("--detach", help="Return when the service is ready; it runs on.")] = False,
) -> None:
    """Start the service: PostgreSQL, Redis, API and worker, with all state in one folder."""
    data_folder = DataFolder(data)
    if service := data_folder.running():
        _print_addresses(data_folder, service, "is running already")
        return
    if detach:
        _detach(data_folder, host, port, model_root or [])
        return
    data_folder.prepare()
    signals: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _: signals.append(number))
    try:
        lock = data_folder.lock()
    except AlreadyRunning:
        err.print(f"another 'unlearn up' is starting or stopping in {data_folder.path}: try again in a moment")
        raise typer.Exit(1) from None
    try:
        with Service(data_folder, host=host, port=port, model_roots=model_root or [], report=err.print) as started:
            _print_addresses(data_folder, RunningService(os.getpid(), started.url), "is ready")
            started.watch(lambda: bool(signals))
            err.print("stopping")
    except (StartFailed, StackError) as failure:
        err.print(f"[red]could not start:[/red] {failure}", markup=True)
        raise typer.Exit(1) from None
    finally:
        os.close(lock)


def down(data: DataOption = DEFAULT_DATA) -> None:
    """Stop the service of this folder: API, worker (which gives its jobs back), Redis, PostgreSQL."""
    data_folder = DataFolder(data)
    service = data_folder.running()
    if service is None:
        if _end_stale_processes(data_folder):
            out.print("stopped what an earlier 'up' left behind")
        else:
            out.print(f"nothing is running in {data_folder.path}")
        return
    os.kill(service.pid, signal.SIGTERM)
    while data_folder.is_locked():
        time.sleep(0.1)
    _end_stale_processes(data_folder)  # none, unless it was killed before it could end them
    out.print("stopped")


def _end_stale_processes(data_folder: DataFolder) -> bool:
    """Ends the processes that a killed `up` left running; returns False where there are none."""
    if not data_folder.path.exists():
        return False
    try:
        lock = data_folder.lock()
    except AlreadyRunning:
        err.print("'unlearn up' is still starting or stopping: try again in a moment")
        raise typer.Exit(1) from None
    try:
        ended = StaleProcesses(data_folder).terminate()
        servers = running_servers(data_folder.path)
        if servers:
            Stack(data_folder.path).stop()
        return bool(ended or servers)
    finally:
        os.close(lock)


def migrate() -> None:
    """Bring the database up to the schema of this version, and give the roles of service and signer their rights.

    It connects as the role of MIGRATION_DATABASE_URL, or of DATABASE_URL where one role does everything.
    """
    configured = settings()
    service = configured.database_url.get_secret_value()
    owner, signer = (
        service if url is None else url.get_secret_value()
        for url in (configured.migration_database_url, configured.signer_database_url)
    )
    asyncio.run(prepare(owner, service_url=service, signer_url=signer))
    out.print("the database is up to date")


def _detach(data_folder: DataFolder, host: str, port: int, roots: list[Path]) -> None:
    """Starts `unlearn up` in a session of its own and waits until it is ready."""
    data_folder.prepare()
    options = [argument for root in roots for argument in ("--model-root", str(root))]
    command = [sys.executable, "-m", "api.cli", "up", "--data", str(data_folder.path), "--host", host]
    command += ["--port", str(port), *options]
    log = data_folder.logs / "up.log"
    with log.open("wb") as sink:
        process = subprocess.Popen(  # noqa: S603 - ourselves
            command, stdin=subprocess.DEVNULL, stdout=sink, stderr=sink, start_new_session=True
        )
    deadline = time.monotonic() + 2 * READY_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        if service := data_folder.running():
            _print_addresses(data_folder, service, "is ready")
            return
        time.sleep(0.1)
    err.print(log.read_text(errors="replace").rstrip() or "could not start: it was not ready in time", markup=False)
    raise typer.Exit(1)


def _print_addresses(data_folder: DataFolder, service: RunningService, state: str) -> None:
    out.print(f"the service {state}: {service.url}  (process {service.pid})")
    out.print(f"admin key, to submit with:                 {data_folder.admin_key}")
    out.print(f"release key, for a second person to accept: {data_folder.release_key}")
    if os.environ.get("RELEASE") == "always":
        err.print("[yellow]RELEASE=always: every checkpoint is handed out, whatever its verdict[/yellow]", markup=True)
