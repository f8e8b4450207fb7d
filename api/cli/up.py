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

from api.cli.data_folder import AlreadyRunning, DataFolder, RunningService
from api.cli.service import READY_SECONDS, Service, StartFailed
from api.cli.stale_processes import StaleProcesses
from core.embedded import Stack, running
from core.embedded.errors import StackError
from core.records.migrate import upgrade
from core.settings import settings

out, err = Console(highlight=False), Console(stderr=True, highlight=False)

DataOption = Annotated[
    Path, typer.Option("--data", help="the folder that holds everything", envvar="UNLEARN_DATA", file_okay=False)
]
Host = Annotated[str, typer.Option(help="address the API listens on")]
Port = Annotated[int, typer.Option(help="port the API listens on")]
Roots = Annotated[
    list[Path] | None, typer.Option("--model-root", help="a directory that models may be registered from")
]
DEFAULT_DATA = Path(".unlearn")


def up(
    data: DataOption = DEFAULT_DATA,
    host: Host = "127.0.0.1",
    port: Port = 8000,
    model_root: Roots = None,
    detach: Annotated[bool, typer.Option("--detach", help="leave it running and return")] = False,
) -> None:
    """Start the service: PostgreSQL, Redis, API and worker, with all state in one folder."""
    place = DataFolder(data)
    if found := place.running():
        _tell(place, found, "is running already")
        return
    if detach:
        _detach(place, host, port, model_root or [])
        return
    place.prepare()
    stopping: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _: stopping.append(number))
    try:
        lock = place.hold()
    except AlreadyRunning:
        err.print(f"another 'unlearn up' is starting or stopping in {place.folder}")
        raise typer.Exit(1) from None
    try:
        with Service(place, host=host, port=port, model_roots=model_root or [], say=err.print) as service:
            _tell(place, RunningService(os.getpid(), service.url), "is ready")
            service.watch(lambda: bool(stopping))
            err.print("stopping")
    except (StartFailed, StackError) as failure:
        err.print(f"[red]could not start:[/red] {failure}", markup=True)
        raise typer.Exit(1) from None
    finally:
        os.close(lock)


def down(data: DataOption = DEFAULT_DATA) -> None:
    """Stop the service of this folder: API, worker (which gives its jobs back), Redis, PostgreSQL."""
    place = DataFolder(data)
    found = place.running()
    if found is None:
        out.print(
            "stopped what an earlier 'up' left behind" if _clear(place) else f"nothing is running in {place.folder}"
        )
        return
    os.kill(found.pid, signal.SIGTERM)
    while place.held():
        time.sleep(0.1)
    out.print("stopped")


def _clear(place: DataFolder) -> bool:
    """Ends what an `up` that was killed left running; False where there is nothing."""
    if not place.folder.exists():
        return False
    try:
        lock = place.hold()
    except AlreadyRunning:
        err.print("'unlearn up' is still starting or stopping: try again in a moment")
        raise typer.Exit(1) from None
    try:
        ended = StaleProcesses(place).end()
        servers = running(place.folder)
        if servers:
            Stack(place.folder).stop()
        return bool(ended or servers)
    finally:
        os.close(lock)


def migrate() -> None:
    """Bring the database of DATABASE_URL to this version."""
    asyncio.run(upgrade(settings().database_url.get_secret_value()))
    out.print("the database is up to date")


def _detach(place: DataFolder, host: str, port: int, roots: list[Path]) -> None:
    """Starts `unlearn up` in a session of its own and waits until it is ready."""
    place.prepare()
    options = [part for root in roots for part in ("--model-root", str(root))]
    command = [sys.executable, "-m", "api.cli", "up", "--data", str(place.folder), "--host", host, "--port", str(port)]
    log = place.logs / "up.log"
    with log.open("wb") as sink:
        process = subprocess.Popen(  # noqa: S603 - ourselves
            [*command, *options], stdin=subprocess.DEVNULL, stdout=sink, stderr=sink, start_new_session=True
        )
    deadline = time.monotonic() + 2 * READY_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        if found := place.running():
            _tell(place, found, "is ready")
            return
        time.sleep(0.1)
    err.print(log.read_text(errors="replace").rstrip() or "could not start: it was not ready in time", markup=False)
    raise typer.Exit(1)


def _tell(place: DataFolder, running: RunningService, what: str) -> None:
    out.print(f"the service {what}: {running.url}  (process {running.pid})")
    out.print(f"admin key, to submit with:                 {place.admin_key}")
    out.print(f"release key, for a second person to accept: {place.release_key}")
    if os.environ.get("RELEASE") == "always":
        err.print("[yellow]RELEASE=always: every checkpoint is handed out, whatever its verdict[/yellow]", markup=True)
