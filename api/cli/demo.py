"""`unlearn demo`: a language model forgets, from the first record to the downloaded checkpoint, for real."""

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer
from rich.console import Console
from rich.markup import escape

from api.cli.child import ChildFailed
from api.cli.connection import connect
from api.cli.cost_line import cost_line
from api.cli.data_folder import AlreadyRunning, DataFolder
from api.cli.demo_model import DemoSetup, continue_record, measure_model, prepare_demo
from api.cli.demo_table import comparison_table, print_verdict
from api.cli.progress import follow_job
from api.cli.service import Service, StartFailed
from api.cli.up import DEFAULT_DATA, DataOption
from api.client import Client, ServiceError
from core.demo.people import read_jsonl, write_jsonl
from core.embedded.errors import StackError
from core.schema.cost import JobCost

EXAMPLE_RECORDS = 5

console = Console(highlight=False, soft_wrap=True)
Given = Annotated[Path | None, typer.Option(exists=True, dir_okay=False, help="with --model")]


def demo(
    data: DataOption = DEFAULT_DATA,
    model: Annotated[Path | None, typer.Option(exists=True, file_okay=False, help="a model of your own")] = None,
    forget: Given = None,
    retain: Given = None,
    unseen: Given = None,
    method: Annotated[str, typer.Option(help="see 'unlearn methods'")] = "calibrated",
    forget_records: Annotated[int, typer.Option(min=1, help="people to forget")] = 200,
    retain_records: Annotated[int, typer.Option(min=4, help="people to keep")] = 400,
    unseen_records: Annotated[int, typer.Option(min=4, help="people nobody trains on")] = 400,
    seed: int = 0,
    port: Annotated[int, typer.Option(help="where the service starts, if none runs in the folder")] = 8000,
) -> None:
    """Train a small model on invented people, make it forget some of them through the service, show what is left."""
    began = time.monotonic()
    place = DataFolder(data)
    place.prepare()
    try:
        if model is not None:
            if forget is None or retain is None or unseen is None:
                raise typer.BadParameter("--model goes with --forget, --retain and --unseen")
            story = DemoSetup(model.absolute(), None, forget, retain, unseen)
        else:
            console.print("[bold]1. People, and a model that has memorised them[/bold]")
            sizes = {"forget": forget_records, "retain": retain_records, "unseen": unseen_records}
            story = prepare_demo(place.models / "demo", **sizes, seed=seed, console=console)
        with running_service(place, story, port), connect(data) as client:
            _tell(client, place, story, method)
    except (ServiceError, ChildFailed, StartFailed, StackError, AlreadyRunning, httpx.TransportError) as failure:
        console.print(f"[red]the demo failed:[/red] {escape(str(failure))}")
        raise typer.Exit(1) from None
    console.print(f"[dim]{time.monotonic() - began:.0f} s in all[/dim]")


@contextmanager
def running_service(place: DataFolder, story: DemoSetup, port: int) -> Iterator[None]:
    """The service of this folder: the one that runs already, or one that stops with the block."""
    if place.running() is not None:
        yield
        return
    lock = place.hold()
    try:
        roots = [story.model.parent]
        with Service(
            place, host="127.0.0.1", port=port, model_roots=roots, say=lambda text: console.print(f"  {text}")
        ):
            yield
    finally:
        os.close(lock)


def _tell(client: Client, place: DataFolder, story: DemoSetup, method: str) -> None:
    console.print("[bold]2. Register, upload, ask, follow[/bold]")
    name = register_model(client, story)
    uploaded = client.upload(story.forget, "forget")
    # from the base: a second demo starts where the first one did, not from its result
    body: dict[str, Any] = {"model": name, "forget": {"file": uploaded["id"]}, "method": method, "from": "base"}
    job = client.post("/v1/jobs", body)
    console.print(f"  job {job['id']} on model {name}: {job['method']['name']}, forget {uploaded['records']} records")
    job = follow_job(client, job["id"], console)
    if job["status"] != "succeeded":
        reason = job["error"]["message"] if job["error"] else job["status"]
        console.print(f"[red]the job did not succeed:[/red] {escape(reason)}")
        raise typer.Exit(1)
    _write_example(place, story)
    checkpoint = place.folder / "demo" / "checkpoint"
    shutil.rmtree(checkpoint, ignore_errors=True)
    about = client.download(job["checkpoint"], checkpoint)
    console.print(
        f"  downloaded {about['bytes'] / 1e6:.1f} MB, every file has its sha256; digest {about['digest'][:16]}…"
    )
    console.print("[bold]3. What is left[/bold]")
    metrics = client.get(f"/v1/jobs/{job['id']}/metrics")
    columns: dict[str, dict[str, Any] | None] = {"before": metrics["before"], "after": metrics["after"]}
    if story.retrained is not None:  # beside the job, which has to do without it, as most have
        cache = place.folder / "demo" / "measured"
        columns["retrained"] = measure_model(story, story.retrained, cache=cache)
    console.print(comparison_table(columns))
    console.print("  with 95 % bootstrap intervals over records; AUC: forget against unseen, 0.5 is best")
    print_verdict(metrics["judgement"], console)
    if metrics["cost"] is not None:
        console.print(f"  {cost_line(JobCost.model_validate(metrics['cost']))}", soft_wrap=True)
    for title, file in (("a forgotten record", story.forget), ("a retained record", story.retain)):
        _example(title, file, before=story.model, after=checkpoint)
    console.print("[bold]4. Where to look next[/bold]")
    console.print(f"  the checkpoint, for AutoModelForCausalLM.from_pretrained:  {checkpoint}")
    console.print(f"  what was done, in words:                                   {checkpoint / 'UNLEARNING.md'}")
    again = "make up" if place.folder == DataFolder(DEFAULT_DATA).folder else f"unlearn up --data {place.folder}"
    console.print(f"  the service, left running, and its console:                {again}")
    console.print("  every method side by side:                                 unlearn bench methods")


def _write_example(place: DataFolder, story: DemoSetup) -> None:
    """Writes a small forget file where the README's example names one: a few of the people that the model knows."""
    example = place.folder / "demo" / "forget.jsonl"
    example.parent.mkdir(exist_ok=True)
    write_jsonl(read_jsonl(story.forget)[:EXAMPLE_RECORDS], example)


def register_model(client: Client, story: DemoSetup) -> str:
    """Registers the story's model, once, with its retain and unseen files as defaults; returns its id."""
    name = "demo" if story.retrained is not None else story.model.name
    found = client.find(f"/v1/models/{name}")
    if found is not None and found["source"] != str(story.model):
        if story.retrained is None or "/models/demo/" not in found["source"]:
            raise StartFailed(f"a model {name} of another source is registered: delete it, or rename the directory")
        client.delete(f"/v1/models/{name}")  # an earlier demo's, of other people
        found = None
    if found is None:
        defaults = {one: client.upload(file, one)["id"] for one, file in _held(story)}
        client.post("/v1/models", {"id": name, "source": str(story.model), "defaults": defaults})
    deadline = time.monotonic() + 600
    while (about := client.get(f"/v1/models/{name}"))["status"] == "fetching" and time.monotonic() < deadline:
        time.sleep(0.1)
    if about["status"] != "ready":
        raise StartFailed(f"the model is {about['status']}: {about['error']}")
    return name


def _held(story: DemoSetup) -> list[tuple[str, Path]]:
    return [("retain", story.retain), ("unseen", story.unseen)]


def _example(title: str, file: Path, *, before: Path, after: Path) -> None:
    """One record's beginning, how it goes on in truth, and how each model goes on."""
    if file.suffix != ".jsonl":
        console.print(f"  [bold]{title}[/bold]: examples are shown of JSON Lines files only")
        return
    index = len(read_jsonl(file)) // 2
    first, then = continue_record(before, file, index), continue_record(after, file, index)
    console.print(f"  [bold]{title}[/bold]: {escape(first['prefix'])} …")
    for label, text in (
        ("in truth", first["truth"]),
        ("before", first["continuation"]),
        ("after", then["continuation"]),
    ):
        console.print(f"    {label:<9} … {escape(text)}")
