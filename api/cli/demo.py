"""`unlearn demo`: a language model forgets, from the first record to the downloaded checkpoint, for real."""

import shutil
import time
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from api.cli.child import ChildFailed
from api.cli.connection import connect
from api.cli.cost_line import cost_line
from api.cli.data_folder import DEFAULT_DATA, AlreadyRunning, DataFolder, DataOption
from api.cli.demo_model import (
    DemoSetup,
    continue_record,
    measure_model,
    prepare_demo,
    register_model,
    register_retrained,
)
from api.cli.demo_real import prepare_real_demo
from api.cli.demo_table import comparison_table, print_verdict
from api.cli.progress import follow_job
from api.cli.service import StartFailed, running_service
from api.client import UnlearningClient, UnlearningError
from core.demo.model_source import ModelSource, SourceUnusable
from core.demo.people import read_jsonl, write_jsonl
from core.embedded.errors import StackError

EXAMPLE_RECORDS = 5
SIZES = {"forget": 200, "retain": 400, "unseen": 400}
REAL_SIZES = {"forget": 12, "retain": 36, "unseen": 40}
"""People of the demo on a pre-trained model, which learns them fifty times as slowly."""

console = Console(highlight=False, soft_wrap=True)
FileOfModel = Annotated[Path | None, typer.Option(exists=True, dir_okay=False, help="Required with --model.")]


def demo(
    data: DataOption = DEFAULT_DATA,
    model: Annotated[
        Path | None, typer.Option(exists=True, file_okay=False, help="A model of your own instead of the demo's.")
    ] = None,
    forget: FileOfModel = None,
    retain: FileOfModel = None,
    unseen: FileOfModel = None,
    real: Annotated[
        bool, typer.Option("--real", help="Fine-tune SmolLM2-135M-Instruct, which is downloaded, instead.")
    ] = False,
    model_source: Annotated[
        Path | None,
        typer.Option(
            exists=True,
            help="With --real: a directory with a model in safetensors, a .gguf file, or a wheel with one, instead of"
            " the download.",
        ),
    ] = None,
    method: Annotated[str, typer.Option(help="The unlearning method; 'unlearn methods' lists them.")] = "calibrated",
    forget_records: Annotated[
        int | None, typer.Option(min=1, help="The number of people to forget; default: 200, and 12 with --real.")
    ] = None,
    retain_records: Annotated[
        int | None, typer.Option(min=4, help="The number of people to keep; default: 400, and 36 with --real.")
    ] = None,
    unseen_records: Annotated[
        int | None,
        typer.Option(min=4, help="The number of people that no model sees; default: 400, and 40 with --real."),
    ] = None,
    seed: Annotated[int, typer.Option(help="The seed of the invented people and of the training.")] = 0,
    port: Annotated[int, typer.Option(help="The port of the service, if none runs in the folder yet.")] = 8000,
) -> None:
    """Train a small model on invented people, make it forget some of them, and show what is left."""
    began = time.monotonic()
    if model_source is not None and not real:
        raise typer.BadParameter("--model-source goes with --real")
    if real and model is not None:
        raise typer.BadParameter(
            "--model is a model that knows its records already; --real makes one: choose one of them"
        )
    data_folder = DataFolder(data)
    data_folder.prepare()
    asked = {"forget": forget_records, "retain": retain_records, "unseen": unseen_records}
    defaults = REAL_SIZES if real else SIZES
    sizes = {name: defaults[name] if count is None else count for name, count in asked.items()}
    try:
        if model is not None:
            if forget is None or retain is None or unseen is None:
                raise typer.BadParameter("--model goes with --forget, --retain and --unseen")
            setup = DemoSetup(model.absolute(), None, forget, retain, unseen)
        else:
            console.print("[bold]1. People, and a model that has memorised them[/bold]")
            setup = _prepare(data_folder, sizes, seed, ModelSource(model_source) if real else None)
        roots = [setup.model.parent]
        with (
            running_service(data_folder, port=port, model_roots=roots, report=lambda line: console.print(f"  {line}")),
            connect(data) as client,
        ):
            _run_demo(client, data_folder, setup, method)
    except (
        UnlearningError,
        ChildFailed,
        SourceUnusable,
        StartFailed,
        StackError,
        AlreadyRunning,
    ) as failure:
        console.print(f"[red]the demo failed:[/red] {escape(str(failure))}")
        raise typer.Exit(1) from None
    console.print(f"[dim]{time.monotonic() - began:.0f} s in all[/dim]")


def _prepare(data_folder: DataFolder, sizes: dict[str, int], seed: int, source: ModelSource | None) -> DemoSetup:
    """Makes the models from scratch, or from the pre-trained model of `source`."""
    if source is None:
        return prepare_demo(data_folder.models / "demo", **sizes, seed=seed, console=console)
    return prepare_real_demo(data_folder.models / "demo-real", source, **sizes, seed=seed, console=console)


def _run_demo(client: UnlearningClient, data_folder: DataFolder, setup: DemoSetup, method: str) -> None:
    """Submits the job, follows it, downloads its checkpoint and prints the results."""
    console.print("[bold]2. Register, upload, ask, follow[/bold]")
    name = register_model(client, setup)
    retrained = register_retrained(client, setup)
    upload = client.files.upload(setup.forget, "forget")
    # from the base: a second demo starts where the first one did, not from its result
    body: dict[str, Any] = {"model": name, "forget": {"file": upload.id}, "method": method, "from": "base"}
    job = client.jobs.create(body)
    console.print(f"  job {job.id} on model {name}: {job.method.name}, forget {upload.records} records")
    if retrained is not None:
        console.print(f"  registered beside it: {retrained}, for jobs that name a retrained model")
    job = follow_job(client, job.id, console)
    if job.status != "succeeded" or job.checkpoint is None:
        reason = job.error.message if job.error else job.status
        console.print(f"[red]the job did not succeed:[/red] {escape(reason)}")
        raise typer.Exit(1)
    folder = data_folder.path / (setup.name or "demo")
    _write_example(folder, setup)
    directory = folder / "checkpoint"
    shutil.rmtree(directory, ignore_errors=True)
    checkpoint = client.checkpoints.download(job.checkpoint, directory)
    console.print(
        f"  downloaded {checkpoint.bytes / 1e6:.1f} MB, every file has its sha256; digest {checkpoint.digest[:16]}…"
    )
    console.print("[bold]3. What is left[/bold]")
    measured = client.jobs.metrics(job.id)
    metrics = measured.model_dump(mode="json")
    columns: dict[str, dict[str, Any] | None] = {"before": metrics["before"], "after": metrics["after"]}
    if setup.retrained is not None:  # measured outside the job, which has no retrained model, as most jobs have none
        columns["retrained"] = measure_model(setup, setup.retrained, cache=folder / "measured")
    console.print(comparison_table(columns))
    console.print("  with 95 % bootstrap intervals over records; AUC: forget against unseen, 0.5 is best")
    print_verdict(metrics["judgement"], console)
    if measured.cost is not None:
        console.print(f"  {cost_line(measured.cost)}", soft_wrap=True)
    for title, file in (("a forgotten record", setup.forget), ("a retained record", setup.retain)):
        _print_example(title, file, before=setup.model, after=directory)
    console.print("[bold]4. Where to look next[/bold]")
    console.print(f"  the checkpoint, for AutoModelForCausalLM.from_pretrained:  {directory}")
    console.print(f"  what was done, in words:                                   {directory / 'UNLEARNING.md'}")
    is_default = data_folder.path == DataFolder(DEFAULT_DATA).path
    command = "make up" if is_default else f"unlearn up --data {data_folder.path}"
    console.print(f"  the service, left running, and its console:                {command}")
    console.print("  every method side by side:                                 unlearn bench methods")


def _write_example(folder: Path, setup: DemoSetup) -> None:
    """Writes the small forget file that the README's example names: a few of the people that the model knows."""
    example = folder / "forget.jsonl"
    folder.mkdir(exist_ok=True)
    write_jsonl(read_jsonl(setup.forget)[:EXAMPLE_RECORDS], example)


def _print_example(title: str, file: Path, *, before: Path, after: Path) -> None:
    """Prints a record's beginning, its true continuation, and the continuation by each model."""
    if file.suffix != ".jsonl":
        console.print(f"  [bold]{title}[/bold]: examples are shown of JSON Lines files only")
        return
    index = len(read_jsonl(file)) // 2
    by_before, by_after = continue_record(before, file, index), continue_record(after, file, index)
    console.print(f"  [bold]{title}[/bold]: {escape(by_before['prefix'])} …")
    for label, text in (
        ("in truth", by_before["truth"]),
        ("before", by_before["continuation"]),
        ("after", by_after["continuation"]),
    ):
        console.print(f"    {label:<9} … {escape(text)}")
