"""`unlearn bench interruptions`: a job whose process is killed must end with the weights of an undisturbed one."""

import json
import os
import platform
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import httpx
import psutil
import typer
from rich.console import Console
from rich.markup import escape

from api.cli.child import ChildFailed
from api.cli.connection import connect
from api.cli.data_folder import AlreadyRunning, DataFolder
from api.cli.demo import register_model, running_service
from api.cli.demo_model import DemoSetup, prepare_demo
from api.cli.service import StartFailed
from api.cli.stale_processes import StaleProcesses
from api.cli.up import DEFAULT_DATA, DataOption
from api.client import Client, ServiceError
from benchmarks.generated_page import aligned_table, replace_section
from core.demo.people import read_jsonl, write_jsonl
from core.embedded.errors import StackError
from core.schema.record import Record
from core.unlearning.objectives import METHODS, UnknownMethod

console = Console(highlight=False)
RECORDS = 24
"""Of each set at most: measuring a large one would take longer than what is looked at."""
TRAINING = {"epochs": 20, "records_per_step": 4, "snapshot_every": 1}
"""Many small updates, so that there is a middle to be killed in."""
PARAMETERS: dict[str, dict[str, Any]] = {"dpo": {"alternates": "refusal"}}
"""Of methods that cannot do with the demo's records as they are."""


class NoChild(Exception):
    """The process that works on a job is not to be found."""


@dataclass(frozen=True)
class Trial:
    """One method's two jobs as the service shows them, the weights' sha256 of each, and what happened to the second."""

    undisturbed: dict[str, Any]
    killed: dict[str, Any]
    weights: tuple[str | None, str | None]
    killed_after: int | None
    resumed_at: int | None

    @property
    def held(self) -> bool:
        """Killed, resumed from a snapshot, and the same in the end."""
        return bool(self.killed_after and self.resumed_at) and self.in_words == "yes"

    @property
    def in_words(self) -> str:
        """Whether the weights are the same; of a job that has none, what became of it."""
        for job in (self.undisturbed, self.killed):
            if job["status"] != "succeeded":
                return ": ".join([job["status"], *([job["error"]["code"]] if job["error"] else [])])
        one, other = self.weights
        return "yes" if one is not None and one == other else "no"


def interruptions(
    data: DataOption = DEFAULT_DATA,
    out: Annotated[Path | None, typer.Option("--out", help="the Markdown file whose table is replaced")] = None,
    method: Annotated[list[str] | None, typer.Option("--method", help="only this one; may be repeated")] = None,
    forget_records: Annotated[int, typer.Option(min=1, help="of the demo, whose model is taken")] = 200,
    retain_records: Annotated[int, typer.Option(min=4, help="of the demo")] = 400,
    unseen_records: Annotated[int, typer.Option(min=4, help="of the demo")] = 400,
    seed: int = 0,
    port: int = 8000,
) -> None:
    """Every method by HTTP on the demo's model, undisturbed and killed in the middle: the same weights?"""
    names = method or list(METHODS)
    if unknown := [name for name in names if name not in METHODS]:
        raise typer.BadParameter(str(UnknownMethod(unknown[0])))
    place = DataFolder(data)
    place.prepare()
    try:
        sizes = {"forget": forget_records, "retain": retain_records, "unseen": unseen_records}
        story = prepare_demo(place.models / "demo", **sizes, seed=seed, console=console)
        with running_service(place, story, port), connect(data) as client:
            trials = _trials(client, place, story, names)
    except (
        ServiceError,
        ChildFailed,
        StartFailed,
        StackError,
        AlreadyRunning,
        NoChild,
        httpx.TransportError,
    ) as failure:
        console.print(f"[red]broken off:[/red] {escape(str(failure))}")
        raise typer.Exit(1) from None
    text = markdown(trials)
    console.print(text, markup=False, soft_wrap=True)
    if out is not None:
        replace_section(out, "interruptions", text)
    if not all(one.held for one in trials):
        raise typer.Exit(1)


def _trials(client: Client, place: DataFolder, story: DemoSetup, names: list[str]) -> list[Trial]:
    model = register_model(client, story)
    held = {name: _upload(client, name, file) for name, file in (("retain", story.retain), ("unseen", story.unseen))}
    body: dict[str, Any] = {"model": model, "from": "base", "training": TRAINING}
    # inline, since a file is gone with the first job that has forgotten it
    body["forget"] = {"records": [one.model_dump(exclude_none=True) for one in _some(story.forget)]}
    body |= {"retain": [{"file": held["retain"]}], "unseen": {"file": held["unseen"]}}
    trials = []
    for name in names:
        trial = _trial(client, place, body | {"method": {"name": name, **PARAMETERS.get(name, {})}})
        console.print(f"  {name}: {trial.in_words} (resumed at {trial.resumed_at})")
        trials.append(trial)
    return trials


def _some(file: Path) -> list[Record]:
    return read_jsonl(file)[:RECORDS]


def _upload(client: Client, name: str, file: Path) -> str:
    with TemporaryDirectory() as folder:
        part = Path(folder) / f"{name}.jsonl"
        write_jsonl(_some(file), part)
        return str(client.upload(part, name)["id"])


def _trial(client: Client, place: DataFolder, body: dict[str, Any]) -> Trial:
    first = client.post("/v1/jobs", body)["id"]
    for _ in client.follow(first):
        pass
    second = client.post("/v1/jobs", body)["id"]
    killed, resumed = disturb(client, place, second)
    undisturbed, disturbed = (client.get(f"/v1/jobs/{job}") for job in (first, second))
    weights = _weights(client, undisturbed), _weights(client, disturbed)
    return Trial(undisturbed, disturbed, weights, killed, resumed)


def disturb(client: Client, place: DataFolder, job: str) -> tuple[int | None, int | None]:
    """Kills the job's process once, in the middle, and follows the job to its end.

    Returns the updates that it was known to have made when it was killed, and those that the next one had not to make
    again; None: it was too quick to be killed, or began anew.
    """
    snapshot = killed = resumed = None
    for message in client.follow(job):
        if message.type == "snapshot":
            snapshot = message.data["step"]
        elif message.type == "resumed":
            resumed = message.data["step"]
        elif message.type == "progress" and killed is None and snapshot is not None:
            step, steps = message.data["step"], message.data["steps"]
            # better after a snapshot of the middle; but where the disk is slow, the first one has to do
            if 3 * snapshot >= steps or 2 * step >= steps:
                child_of(place, job).kill()
                killed = step
    return killed, resumed


def child_of(place: DataFolder, job: str) -> psutil.Process:
    """The process that works on the job: the worker's log tells which of the worker's children. NoChild: none does."""
    worker = StaleProcesses(place).process("worker")
    children = {one.pid: one for one in worker.children()} if worker is not None else {}
    with (place.logs / "worker.log").open(errors="replace") as log:
        lines = [json.loads(line) for line in log if job in line and line.startswith("{") and line.endswith("\n")]
    started = [line["pid"] for line in lines if line["event"] == "child starts"]
    if not started or started[-1] not in children:
        raise NoChild(f"no process of {place.folder} works on {job}: is it another service that answers?")
    return children[started[-1]]


def _weights(client: Client, job: dict[str, Any]) -> str | None:
    """The sha256 of the weights that the job has delivered; its card, which names the job, is another for each."""
    if job["checkpoint"] is None:
        return None
    files = client.get(f"/v1/checkpoints/{job['checkpoint']}")["files"]
    return next((str(one["sha256"]) for one in files if one["path"] == "model.safetensors"), None)


def markdown(trials: list[Trial]) -> str:
    """The table, and under what it was made."""
    head = ["method", "same weights", "updates", "killed after", "resumed at", "attempts", "seconds", "seconds, killed"]
    made = (
        f"Made {datetime.now(UTC):%Y-%m-%d} by `unlearn bench interruptions`: at most {RECORDS} records of each set;"
        f" {platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, torch {version('torch')}."
        f" {sum(one.held for one in trials)} of {len(trials)} ended with the weights of the undisturbed job."
    )
    return "\n".join([made, "", aligned_table([head, *map(_cells, trials)])])


def _cells(trial: Trial) -> list[str]:
    job, progress = trial.killed, trial.killed["progress"] or {}
    counts = [progress.get("steps"), trial.killed_after, trial.resumed_at, job["attempts"]]
    seconds = [f"{_seconds(one):.1f}" for one in (trial.undisturbed, job)]
    return [job["method"]["name"], trial.in_words, *("–" if one is None else str(one) for one in counts), *seconds]


def _seconds(job: dict[str, Any]) -> float:
    return (datetime.fromisoformat(job["finished_at"]) - datetime.fromisoformat(job["created_at"])).total_seconds()
