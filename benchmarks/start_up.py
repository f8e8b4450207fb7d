"""The time that a waiting child process saves, as a client sees it: `unlearn bench start-up`.

    python -m benchmarks.start_up --jobs 5 --out docs/benchmarks.md

Two services run beside each other on one machine, one with WORKER_WARM_CHILDREN=1 and one with 0. They take turns at
the same short jobs.
"""

import json
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Annotated

import typer
from rich.console import Console

from api.cli.child import ChildFailed
from api.cli.data_folder import DEFAULT_DATA, DataFolder, DataOption
from api.cli.demo_model import DemoSetup, register_model
from api.cli.service import Service
from api.client import ServerSentEvent, UnlearningClient
from benchmarks.command_line import run
from benchmarks.generated_page import aligned_table, replace_section
from core.demo.people import demo_sets, read_jsonl, write_jsonl
from core.schema.event_types import PROGRESS_MESSAGE, EventType

console = Console(highlight=False)

SIZES = {"forget": 8, "retain": 16, "unseen": 16}
METHOD = "ascent_descent"
TRAINING = {"epochs": 2, "records_per_step": 4}
WAITING, AT_ONCE, NONE = "a child waits", "the next job at once", "no child waits"
READY_SECONDS = 120.0


@dataclass(frozen=True)
class JobTimes:
    """Seconds from a job's POST, as its sender sees them, to three events of the job."""

    measuring: float
    update: float
    succeeded: float


def job_times(messages: Iterable[ServerSentEvent], elapsed: Callable[[], float]) -> JobTimes:
    """Returns when a job began to measure, had made its first update, and succeeded. ChildFailed: it did not."""
    first_seen: dict[str, float] = {}
    for message in messages:
        event = message.data["phase"] if message.type == EventType.PHASE else message.type
        first_seen.setdefault(event, elapsed())
    try:
        return JobTimes(first_seen["measuring_before"], first_seen[PROGRESS_MESSAGE], first_seen[EventType.SUCCEEDED])
    except KeyError as missing:
        raise ChildFailed(f"a job of the benchmark never came to {missing}") from None


def child_is_waiting(log: Iterable[str]) -> bool:
    """Returns whether, by the worker's log, a child waits that has not been given a job yet."""
    lines = [json.loads(line) for line in log if line.startswith("{")]
    waiting = [line["pid"] for line in lines if line["event"] == "child waits"]
    return bool(waiting) and waiting[-1] not in {line["pid"] for line in lines if line["event"] == "child starts"}


def used_waiting_child(log: Iterable[str]) -> list[bool]:
    """Returns for each job, by the worker's log, whether a child that had waited did it."""
    lines = [json.loads(line) for line in log if line.startswith("{")]
    return [line["warm"] for line in lines if line["event"] == "child starts"]


@dataclass(frozen=True)
class TimedService:
    """One of the two services: its client, and its worker's log."""

    client: UnlearningClient
    log: Path

    def time_job(self, model: str, forget: str) -> JobTimes:
        """Posts a job, follows it to its end and returns its times."""
        body = {"model": model, "from": "base", "method": METHOD, "forget": {"file": forget}, "training": TRAINING}
        began = time.monotonic()
        job = self.client.jobs.create(body).id
        return job_times(self.client.jobs.follow(job), lambda: time.monotonic() - began)

    def log_lines(self) -> list[str]:
        """Returns the worker's log so far."""
        return self.log.read_text().splitlines()

    def await_child(self) -> None:
        """Returns when a child waits. ChildFailed when none comes."""
        deadline = time.monotonic() + READY_SECONDS
        while not child_is_waiting(self.log_lines()):
            if time.monotonic() > deadline:
                raise ChildFailed(f"no child waits: see {self.log}")
            time.sleep(0.1)


def start_up(
    data: DataOption = DEFAULT_DATA,
    out: Annotated[Path | None, typer.Option("--out", help="The Markdown file whose table is replaced.")] = None,
    jobs: Annotated[int, typer.Option(min=1, help="The number of timed jobs of each kind and model.")] = 5,
    port: Annotated[int, typer.Option(help="The port of the first service; the second takes the next port.")] = 8000,
) -> None:
    """Time a job from POST to measuring, to its first update and to its end, with and without a waiting child."""
    if any(name in os.environ for name in ("DATABASE_URL", "REDIS_URL")):
        raise typer.BadParameter("the two services need servers of their own: unset DATABASE_URL and REDIS_URL")
    data_folder = DataFolder(data)
    data_folder.prepare()
    folder = data_folder.path / "bench"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700)
    try:
        setups = {"tiny": _tiny_model(folder / "tiny")} | _demo_model(data_folder, folder / "demo")
        roots = [setup.model.parent for setup in setups.values()]
        with _serve(folder / "1", port, roots, 1) as warm, _serve(folder / "0", port + 1, roots, 0) as cold:
            times = {label: _time_jobs(label, setup, warm, cold, jobs) for label, setup in setups.items()}
            at_once = used_waiting_child(warm.log_lines())[1::2]
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    text = _markdown(times, jobs)
    text += f"\n\nOf {len(at_once)} jobs that were posted at once, {sum(at_once)} were done by a child that had waited."
    console.print(text, markup=False, soft_wrap=True)
    if out is not None:
        replace_section(out, "start-up", text)


def _tiny_model(folder: Path) -> DemoSetup:
    """Trains a model of the tests' size on a few people."""
    folder.mkdir()
    files = {name: folder / f"{name}.jsonl" for name in SIZES}
    for name, records in demo_sets(
        forget=SIZES["forget"], retain=SIZES["retain"], unseen=SIZES["unseen"], seed=0
    ).items():
        write_jsonl(records, files[name])
    command = [sys.executable, "-m", "core.demo.pretraining", "--size", "tiny", "--out", str(folder / "tiny")]
    for file in files.values():
        command += ["--tokenizer-records", str(file)]
    command += ["--records", str(files["forget"]), "--records", str(files["retain"])]
    console.print("training a tiny model")
    if subprocess.run(command, stdout=subprocess.DEVNULL, check=False).returncode:  # noqa: S603 - our own program
        raise ChildFailed("the tiny model could not be trained")
    return DemoSetup(folder / "tiny", None, files["forget"], files["retain"], files["unseen"])


def _demo_model(data_folder: DataFolder, folder: Path) -> dict[str, DemoSetup]:
    """Returns the demo's newest model, with as few of its records, where this data folder has a demo."""
    configs = sorted(
        (data_folder.models / "demo").glob("*/model/config.json"), key=lambda config: config.stat().st_mtime
    )
    if not configs:
        return {}
    model = configs[-1].parent
    folder.mkdir()
    files = {name: folder / f"{name}.jsonl" for name in SIZES}
    for name, count in SIZES.items():
        write_jsonl(read_jsonl(model.parent / f"{name}.jsonl")[:count], files[name])
    return {"demo": DemoSetup(model, None, files["forget"], files["retain"], files["unseen"])}


@contextmanager
def _serve(folder: Path, port: int, roots: list[Path], children: int) -> Iterator[TimedService]:
    data_folder = DataFolder(folder)
    data_folder.prepare()
    with ExitStack() as stack:
        stack.callback(os.close, data_folder.lock())
        service = Service(
            data_folder,
            host="127.0.0.1",
            port=port,
            model_roots=roots,
            report=lambda _: None,
            settings={"WORKER_WARM_CHILDREN": str(children)},
        )
        stack.enter_context(service)
        console.print(f"a service with WORKER_WARM_CHILDREN={children} is ready")
        client = stack.enter_context(UnlearningClient(service.url, data_folder.admin_key.read_text().strip()))
        yield TimedService(client, data_folder.logs / "worker.log")


def _time_jobs(
    label: str, setup: DemoSetup, warm: TimedService, cold: TimedService, jobs: int
) -> dict[str, list[JobTimes]]:
    """Runs the same job again and again: the services take turns, and neither works while the other is timed."""
    registered = {
        service: (register_model(service.client, setup), service.client.files.upload(setup.forget, "forget").id)
        for service in (warm, cold)
    }
    times: dict[str, list[JobTimes]] = {WAITING: [], NONE: [], AT_ONCE: []}

    def time_warm() -> None:
        warm.await_child()
        times[WAITING].append(warm.time_job(*registered[warm]))
        times[AT_ONCE].append(warm.time_job(*registered[warm]))
        warm.await_child()

    def time_cold() -> None:
        times[NONE].append(cold.time_job(*registered[cold]))

    time_warm()
    time_cold()
    for kind in times.values():
        kind.clear()  # the first jobs read their files from disk
    for number in range(jobs):
        console.print(f"{label}: {number + 1} of {jobs}")
        for time_one in (time_warm, time_cold) if number % 2 else (time_cold, time_warm):
            time_one()
    return times


def table(times: dict[str, dict[str, list[JobTimes]]]) -> str:
    """Returns medians, with the range in brackets; each model's last row is the ratio of its medians without a child.

    `times` holds the jobs' times by the model and the kind of start.
    """
    lines = [["model", "", "measuring begins", "first update", "succeeded"]]
    for label, kinds in times.items():
        columns = {
            kind: [[getattr(job, name) for job in jobs] for name in JobTimes.__dataclass_fields__]
            for kind, jobs in kinds.items()
        }
        lines += [[label, kind, *map(_cell, values)] for kind, values in columns.items()]
        pairs = zip(columns[NONE], columns[WAITING], strict=True)
        lines.append([label, f"{NONE} / {WAITING}", *(f"{median(slow) / median(quick):.2f}" for slow, quick in pairs)])
    return aligned_table(lines)


def _cell(values: list[float]) -> str:
    return f"{median(values):.2f} ({min(values):.2f}–{max(values):.2f})"


def _markdown(times: dict[str, dict[str, list[JobTimes]]], jobs: int) -> str:
    heading = (
        f"Made {datetime.now(UTC):%Y-%m-%d} by `unlearn bench start-up --jobs {jobs}`: {_device()}, Python "
        f"{platform.python_version()}, torch {version('torch')}. Seconds from POST; the median of {jobs} jobs and, in "
        f"brackets, the quickest and the slowest. Each job: `{METHOD}`, {SIZES['forget']} records to forget, "
        f"{SIZES['retain']} to keep and {SIZES['unseen']} unseen, {TRAINING['epochs']} epochs of "
        f"{TRAINING['records_per_step']} records an update."
    )
    return "\n".join([heading, "", table(times)])


def _device() -> str:
    cores = f"{platform.machine()}, {os.cpu_count()} cores"
    if (nvidia_smi := shutil.which("nvidia-smi")) is None:
        return cores
    command = [nvidia_smi, "--query-gpu=name", "--format=csv,noheader"]
    names = subprocess.run(command, capture_output=True, text=True, check=False).stdout.split("\n")  # noqa: S603
    return ", ".join([cores, *filter(None, names)])


if __name__ == "__main__":
    run(start_up, name="start-up")
