"""`unlearn bench start-up`: what a child that waits for its job with everything imported saves, seen by a client.

Two services beside each other on one machine, with WORKER_WARM_CHILDREN=1 and 0, take turns at the same short jobs.
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
from api.cli.data_folder import DataFolder
from api.cli.demo import register_model
from api.cli.demo_model import DemoSetup
from api.cli.service import Service
from api.cli.up import DEFAULT_DATA, DataOption
from api.client import Client, ServerSentEvent
from benchmarks.generated_page import aligned_table, replace_section
from core.demo.people import demo_sets, read_jsonl, write_jsonl

console = Console(highlight=False)

SIZES = {"forget": 8, "retain": 16, "unseen": 16}
METHOD = "ascent_descent"
TRAINING = {"epochs": 2, "records_per_step": 4}
WAITING, AT_ONCE, NONE = "a child waits", "the next job at once", "no child waits"
READY_SECONDS = 120.0


@dataclass(frozen=True)
class Moments:
    """Seconds from POST as its sender sees them."""

    measuring: float
    update: float
    succeeded: float


def moments(messages: Iterable[ServerSentEvent], elapsed: Callable[[], float]) -> Moments:
    """When the job began to measure, had made its first update, and succeeded. ChildFailed where it did not."""
    seen: dict[str, float] = {}
    for message in messages:
        kind = message.data["phase"] if message.type == "phase" else message.type
        seen.setdefault(kind, elapsed())
    try:
        return Moments(seen["measuring_before"], seen["progress"], seen["succeeded"])
    except KeyError as missing:
        raise ChildFailed(f"a job of the bench never came to {missing}") from None


def ready(log: Iterable[str]) -> bool:
    """Whether, by the worker's log, a child waits that no job has been given yet."""
    lines = [json.loads(line) for line in log if line.startswith("{")]
    waits = [line["pid"] for line in lines if line["event"] == "child waits"]
    return bool(waits) and waits[-1] not in {line["pid"] for line in lines if line["event"] == "child starts"}


def served(log: Iterable[str]) -> list[bool]:
    """By the worker's log, of each job whether a child that waited did it."""
    lines = [json.loads(line) for line in log if line.startswith("{")]
    return [line["warm"] for line in lines if line["event"] == "child starts"]


@dataclass(frozen=True)
class Side:
    """One of the two services."""

    client: Client
    log: Path

    def time(self, model: str, forget: str) -> Moments:
        """A job from POST to its end."""
        body = {"model": model, "from": "base", "method": METHOD, "forget": {"file": forget}, "training": TRAINING}
        began = time.monotonic()
        job = self.client.post("/v1/jobs", body)["id"]
        return moments(self.client.follow(job), lambda: time.monotonic() - began)

    def lines(self) -> list[str]:
        """The worker's log so far."""
        return self.log.read_text().splitlines()

    def await_child(self) -> None:
        """Returns when a child waits. ChildFailed when none comes."""
        end = time.monotonic() + READY_SECONDS
        while not ready(self.lines()):
            if time.monotonic() > end:
                raise ChildFailed(f"no child waits: see {self.log}")
            time.sleep(0.1)


def start_up(
    data: DataOption = DEFAULT_DATA,
    out: Annotated[Path | None, typer.Option("--out", help="the Markdown file whose table is replaced")] = None,
    jobs: Annotated[int, typer.Option(min=1, help="jobs of each kind and model")] = 5,
    port: Annotated[int, typer.Option(help="this one and the next must be free")] = 8000,
) -> None:
    """Seconds from POST to measuring, to the first update and to the end, with a child that waits and without."""
    if any(name in os.environ for name in ("DATABASE_URL", "REDIS_URL")):
        raise typer.BadParameter("the two services need servers of their own: unset DATABASE_URL and REDIS_URL")
    place = DataFolder(data)
    place.prepare()
    folder = place.folder / "bench"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700)
    try:
        stories = {"tiny": _tiny(folder / "tiny")} | _demo(place, folder / "demo")
        roots = [story.model.parent for story in stories.values()]
        with _serving(folder / "1", port, roots, 1) as warm, _serving(folder / "0", port + 1, roots, 0) as cold:
            figures = {label: _race(label, story, warm, cold, jobs) for label, story in stories.items()}
            at_once = served(warm.lines())[1::2]
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    text = _markdown(figures, jobs)
    text += f"\n\nOf {len(at_once)} jobs that were posted at once, {sum(at_once)} were done by a child that had waited."
    console.print(text, markup=False, soft_wrap=True)
    if out is not None:
        replace_section(out, "start-up", text)


def _tiny(folder: Path) -> DemoSetup:
    """A model of the tests' size, trained on a few people."""
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


def _demo(place: DataFolder, folder: Path) -> dict[str, DemoSetup]:
    """The demo's model, where this data folder has one, with as few of its records."""
    found = sorted((place.models / "demo").glob("*/model/config.json"), key=lambda file: file.stat().st_mtime)
    if not found:
        return {}
    folder.mkdir()
    files = {name: folder / f"{name}.jsonl" for name in SIZES}
    for name, count in SIZES.items():
        write_jsonl(read_jsonl(found[-1].parents[1] / f"{name}.jsonl")[:count], files[name])
    return {"demo": DemoSetup(found[-1].parent, None, files["forget"], files["retain"], files["unseen"])}


@contextmanager
def _serving(folder: Path, port: int, roots: list[Path], children: int) -> Iterator[Side]:
    place = DataFolder(folder)
    place.prepare()
    with ExitStack() as stack:
        stack.callback(os.close, place.hold())
        settings = {"WORKER_WARM_CHILDREN": str(children)}
        service = Service(place, host="127.0.0.1", port=port, model_roots=roots, say=lambda _: None, settings=settings)
        stack.enter_context(service)
        console.print(f"a service with WORKER_WARM_CHILDREN={children} is ready")
        yield Side(
            stack.enter_context(Client(service.url, place.admin_key.read_text().strip())), place.logs / "worker.log"
        )


def _race(label: str, story: DemoSetup, warm: Side, cold: Side, jobs: int) -> dict[str, list[Moments]]:
    """The same job again and again: the two services take turns, and neither works while the other is timed."""
    names = {
        side: (register_model(side.client, story), side.client.upload(story.forget, "forget")["id"])
        for side in (warm, cold)
    }
    found: dict[str, list[Moments]] = {WAITING: [], NONE: [], AT_ONCE: []}

    def warmly() -> None:
        warm.await_child()
        found[WAITING].append(warm.time(*names[warm]))
        found[AT_ONCE].append(warm.time(*names[warm]))
        warm.await_child()

    def coldly() -> None:
        found[NONE].append(cold.time(*names[cold]))

    warmly()
    coldly()
    for one in found.values():
        one.clear()  # the first read their files from disk
    for number in range(jobs):
        console.print(f"{label}: {number + 1} of {jobs}")
        for turn in (warmly, coldly) if number % 2 else (coldly, warmly):
            turn()
    return found


def table(figures: dict[str, dict[str, list[Moments]]]) -> str:
    """Medians, in brackets the range; for each model, last, how many times as long it takes without a child."""
    lines = [["model", "", "measuring begins", "first update", "succeeded"]]
    for label, kinds in figures.items():
        columns = {
            kind: [[getattr(one, name) for one in made] for name in Moments.__dataclass_fields__]
            for kind, made in kinds.items()
        }
        lines += [[label, kind, *map(_cell, values)] for kind, values in columns.items()]
        pairs = zip(columns[NONE], columns[WAITING], strict=True)
        lines.append([label, f"{NONE} / {WAITING}", *(f"{median(slow) / median(quick):.2f}" for slow, quick in pairs)])
    return aligned_table(lines)


def _cell(values: list[float]) -> str:
    return f"{median(values):.2f} ({min(values):.2f}–{max(values):.2f})"


def _markdown(figures: dict[str, dict[str, list[Moments]]], jobs: int) -> str:
    made = (
        f"Made {datetime.now(UTC):%Y-%m-%d} by `unlearn bench start-up --jobs {jobs}`: {_device()}, Python "
        f"{platform.python_version()}, torch {version('torch')}. Seconds from POST; the median of {jobs} jobs and, in "
        f"brackets, the quickest and the slowest. Each job: `{METHOD}`, {SIZES['forget']} records to forget, "
        f"{SIZES['retain']} to keep and {SIZES['unseen']} unseen, {TRAINING['epochs']} epochs of "
        f"{TRAINING['records_per_step']} records an update."
    )
    return "\n".join([made, "", table(figures)])


def _device() -> str:
    cores = f"{platform.machine()}, {os.cpu_count()} cores"
    if (smi := shutil.which("nvidia-smi")) is None:
        return cores
    asked = [smi, "--query-gpu=name", "--format=csv,noheader"]
    names = subprocess.run(asked, capture_output=True, text=True, check=False).stdout.split("\n")  # noqa: S603
    return ", ".join([cores, *filter(None, names)])
