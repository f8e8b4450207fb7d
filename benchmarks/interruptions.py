"""A job whose process is killed must end with the weights of an undisturbed one: `unlearn bench interruptions`.

    python -m benchmarks.interruptions --data .unlearn --method calibrated --out docs/benchmarks.md

Each method works by HTTP on the demo's model twice: undisturbed, and killed once in the middle.
"""

import json
import os
import platform
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import psutil
import typer
from rich.console import Console
from rich.markup import escape

from api.cli.child import ChildFailed
from api.cli.connection import connect
from api.cli.data_folder import DEFAULT_DATA, AlreadyRunning, DataFolder, DataOption
from api.cli.demo_model import DemoSetup, prepare_demo, register_model
from api.cli.service import StartFailed, running_service
from api.cli.stale_processes import StaleProcesses
from api.client import ServerSentEvent, UnlearningClient, UnlearningError
from benchmarks.command_line import run
from benchmarks.generated_page import aligned_table, replace_section
from core.demo.people import read_jsonl, write_jsonl
from core.embedded.errors import StackError
from core.schema.event_types import PROGRESS_MESSAGE, EventType
from core.schema.files import Purpose
from core.schema.jobs import Job
from core.schema.record import Record
from core.unlearning.objectives import METHODS, UnknownMethod

console = Console(highlight=False)
RECORDS = 24
"""Records of each set at most: measuring a large set would take longer than the unlearning that this looks at."""
TRAINING = {"epochs": 20, "records_per_step": 4, "snapshot_every": 1}
"""Many small updates, so that there is a middle to be killed in."""
PARAMETERS: dict[str, dict[str, Any]] = {"dpo": {"alternates": "refusal"}}
"""Parameters of methods that cannot work on the demo's records by default."""


class NoChild(Exception):
    """The process that works on a job is not found."""


@dataclass(frozen=True)
class Trial:
    """One method's two jobs as the service shows them, the sha256 of each job's weights, and the killing of the second.

    `killed_after` and `resumed_at` count updates; None where the job was not killed, or did not resume.
    """

    undisturbed: dict[str, Any]
    killed: dict[str, Any]
    weights: tuple[str | None, str | None]
    killed_after: int | None
    resumed_at: int | None

    @property
    def passed(self) -> bool:
        """Whether the job was killed, resumed from a snapshot, and ended with the same weights."""
        return bool(self.killed_after and self.resumed_at) and self.same_weights == "yes"

    @property
    def same_weights(self) -> str:
        """`yes` or `no`; where a job delivered no weights, its status and error code."""
        for job in (self.undisturbed, self.killed):
            if job["status"] != "succeeded":
                return ": ".join([job["status"], *([job["error"]["code"]] if job["error"] else [])])
        undisturbed, killed = self.weights
        return "yes" if undisturbed is not None and undisturbed == killed else "no"


def interruptions(
    data: DataOption = DEFAULT_DATA,
    out: Annotated[Path | None, typer.Option("--out", help="The Markdown file whose table is replaced.")] = None,
    method: Annotated[
        list[str] | None, typer.Option("--method", help="Only this method. May be repeated; default: every method.")
    ] = None,
    forget_records: Annotated[int, typer.Option(min=1, help="The number of people that the demo forgets.")] = 200,
    retain_records: Annotated[int, typer.Option(min=4, help="The number of people that the demo keeps.")] = 400,
    unseen_records: Annotated[int, typer.Option(min=4, help="The number of people that no model sees.")] = 400,
    seed: Annotated[int, typer.Option(help="The seed of the demo.")] = 0,
    port: Annotated[int, typer.Option(help="The port of the service, if none runs in the folder yet.")] = 8000,
) -> None:
    """Run every method on the demo's model, undisturbed and killed in the middle, and compare the weights.

    The options about records and seed choose the demo whose model is used. The exit code is 1 unless every method's
    killed job resumed and ended with the same weights.
    """
    names = method or list(METHODS)
    if unknown := [name for name in names if name not in METHODS]:
        raise typer.BadParameter(str(UnknownMethod(unknown[0])))
    data_folder = DataFolder(data)
    data_folder.prepare()
    try:
        sizes = {"forget": forget_records, "retain": retain_records, "unseen": unseen_records}
        setup = prepare_demo(data_folder.models / "demo", **sizes, seed=seed, console=console)
        roots = [setup.model.parent]
        with (
            running_service(data_folder, port=port, model_roots=roots, report=lambda line: console.print(f"  {line}")),
            connect(data) as client,
        ):
            trials = _run_trials(client, data_folder, setup, names)
    except (
        UnlearningError,
        ChildFailed,
        StartFailed,
        StackError,
        AlreadyRunning,
        NoChild,
    ) as failure:
        console.print(f"[red]broken off:[/red] {escape(str(failure))}")
        raise typer.Exit(1) from None
    text = markdown(trials)
    console.print(text, markup=False, soft_wrap=True)
    if out is not None:
        replace_section(out, "interruptions", text)
    if not all(trial.passed for trial in trials):
        raise typer.Exit(1)


def _run_trials(client: UnlearningClient, data_folder: DataFolder, setup: DemoSetup, names: list[str]) -> list[Trial]:
    model = register_model(client, setup)
    retain, unseen = _upload(client, "retain", setup.retain), _upload(client, "unseen", setup.unseen)
    body: dict[str, Any] = {"model": model, "from": "base", "training": TRAINING}
    # inline, since the service deletes a forget file with the first job that has forgotten it
    body["forget"] = {"records": [record.model_dump(exclude_none=True) for record in _first_records(setup.forget)]}
    body |= {"retain": [{"file": retain}], "unseen": {"file": unseen}}
    trials = []
    for name in names:
        trial = _run_trial(client, data_folder, body | {"method": {"name": name, **PARAMETERS.get(name, {})}})
        console.print(f"  {name}: {trial.same_weights} (resumed at {trial.resumed_at})")
        trials.append(trial)
    return trials


def _first_records(file: Path) -> list[Record]:
    return read_jsonl(file)[:RECORDS]


def _upload(client: UnlearningClient, purpose: Purpose, file: Path) -> str:
    with TemporaryDirectory() as folder:
        shortened = Path(folder) / f"{purpose}.jsonl"
        write_jsonl(_first_records(file), shortened)
        return client.files.upload(shortened, purpose).id


def _run_trial(client: UnlearningClient, data_folder: DataFolder, body: dict[str, Any]) -> Trial:
    first = client.jobs.create(body).id
    client.jobs.wait(first)
    second = client.jobs.create(body).id
    killed_after, resumed_at = disturb(client.jobs.follow(second), data_folder, second)
    undisturbed, killed = (client.jobs.get(job_id) for job_id in (first, second))
    weights = _weights_digest(client, undisturbed), _weights_digest(client, killed)
    shown = [job.model_dump(mode="json") for job in (undisturbed, killed)]
    return Trial(shown[0], shown[1], weights, killed_after, resumed_at)


def disturb(messages: Iterable[ServerSentEvent], data_folder: DataFolder, job_id: str) -> tuple[int | None, int | None]:
    """Kills the job's process once, in the middle, and reads the job's messages to their end.

    Returns the updates that the job had made when its process was killed, and the updates that the next process did not
    repeat. None: the job ended before it could be killed, or began anew.
    """
    snapshot = killed_after = resumed_at = None
    for message in messages:
        if message.type == EventType.SNAPSHOT:
            snapshot = message.data["step"]
        elif message.type == EventType.RESUMED:
            resumed_at = message.data["step"]
        elif message.type == PROGRESS_MESSAGE and killed_after is None and snapshot is not None:
            step, steps = message.data["step"], message.data["steps"]
            # better after a snapshot of the middle; where the disk is slow, the first snapshot has to do
            if 3 * snapshot >= steps or 2 * step >= steps:
                find_child(data_folder, job_id).kill()
                killed_after = step
    return killed_after, resumed_at


def find_child(data_folder: DataFolder, job_id: str) -> psutil.Process:
    """Returns the worker's child process that works on the job, by the worker's log. NoChild: no child does."""
    worker = StaleProcesses(data_folder).process("worker")
    children = {child.pid: child for child in worker.children()} if worker is not None else {}
    with (data_folder.logs / "worker.log").open(errors="replace") as log:
        lines = [json.loads(line) for line in log if job_id in line and line.startswith("{") and line.endswith("\n")]
    started = [line["pid"] for line in lines if line["event"] == "child starts"]
    if not started or started[-1] not in children:
        raise NoChild(f"no process of {data_folder.path} works on {job_id}: is it another service that answers?")
    return children[started[-1]]


def _weights_digest(client: UnlearningClient, job: Job) -> str | None:
    """The sha256 of the job's weights. The checkpoint's digest would differ, since its card names the job."""
    if job.checkpoint is None:
        return None
    files = client.checkpoints.get(job.checkpoint).files
    return next((file.sha256 for file in files if file.path == "model.safetensors"), None)


def markdown(trials: list[Trial]) -> str:
    """Returns the table, after a line about the machine and the result."""
    head = ["method", "same weights", "updates", "killed after", "resumed at", "attempts", "seconds", "seconds, killed"]
    heading = (
        f"Made {datetime.now(UTC):%Y-%m-%d} by `unlearn bench interruptions`: at most {RECORDS} records of each set;"
        f" {platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, torch {version('torch')}."
        f" {sum(trial.passed for trial in trials)} of {len(trials)} ended with the weights of the undisturbed job."
    )
    return "\n".join([heading, "", aligned_table([head, *map(_cells, trials)])])


def _cells(trial: Trial) -> list[str]:
    job, progress = trial.killed, trial.killed["progress"] or {}
    counts = [progress.get("steps"), trial.killed_after, trial.resumed_at, job["attempts"]]
    seconds = [f"{_seconds(timed):.1f}" for timed in (trial.undisturbed, job)]
    return [job["method"]["name"], trial.same_weights, *("–" if n is None else str(n) for n in counts), *seconds]


def _seconds(job: dict[str, Any]) -> float:
    return (datetime.fromisoformat(job["finished_at"]) - datetime.fromisoformat(job["created_at"])).total_seconds()


if __name__ == "__main__":
    run(interruptions, name="interruptions")
