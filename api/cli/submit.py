"""`unlearn submit`: a job through the service; `unlearn run`: the child process alone, without the service."""

import contextlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Any, Self

import typer
from rich.console import Console

from api.cli.connection import open_client
from api.cli.cost_line import cost_line
from api.cli.data_folder import DEFAULT_DATA, DataOption
from api.cli.progress import follow_job
from api.cli.uploads import upload_file
from api.client import UnlearningClient, UnlearningError
from core.schema.files import Purpose
from core.schema.jobs import Job

out, err = Console(highlight=False), Console(stderr=True, highlight=False)


def submit(
    model: Annotated[str, typer.Argument(help="The id of a registered model.")],
    forget: Annotated[Path, typer.Option(exists=True, dir_okay=False, help="The records that the model must forget.")],
    retain: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="Records that the model must keep.")
    ] = None,
    unseen: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="Similar records that the model never saw.")
    ] = None,
    probes: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="Questions about what must be forgotten.")
    ] = None,
    retrained_model: Annotated[
        str | None,
        typer.Option(
            "--retrained-model",
            "--reference-model",
            help="The id of a registered model that was retrained without the text.",
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only measure what the model remembers of the text.")
    ] = False,
    method: Annotated[str, typer.Option(help="The unlearning method; 'unlearn methods' lists them.")] = "calibrated",
    start: Annotated[
        str, typer.Option("--from", help="Start from the model's head (its newest checkpoint) or its base.")
    ] = "head",
    lora: Annotated[int | None, typer.Option(min=1, max=1024, help="Train an adapter of this rank.")] = None,
    output: Annotated[str, typer.Option(help="The checkpoint's form: full, merged or adapter.")] = "full",
    policy: Annotated[
        str | None,
        typer.Option(help="The policy to judge by; 'unlearn policies list' lists them; default: the model's."),
    ] = None,
    measure: Annotated[
        list[str] | None,
        typer.Option(help="A measurement, or the group standard or thorough. May be repeated; default: standard."),
    ] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Follow the job to its end.")] = False,
    directory: Annotated[
        Path | None, typer.Option("--out", help="Follow the job and download its checkpoint into this directory.")
    ] = None,
    data: DataOption = DEFAULT_DATA,
) -> None:
    """Submit a job that makes a model forget a file of records."""
    with open_client(data) as client, Uploads(client) as uploads:
        # an unknown model fails here, before personal data leaves this machine for nothing
        client.models.get(model)
        body: dict[str, Any] = {"model": model, "method": method, "from": start, "output": output}
        if lora is not None:
            body["training"] = {"lora": {"rank": lora}}
        evaluation = {"policy": policy, "measure": measure}
        body["evaluation"] = {name: value for name, value in evaluation.items() if value}
        if dry_run:
            body["dry_run"] = True
        if retrained_model is not None:
            body["retrained_model"] = retrained_model
        if probes is not None:
            body["probes"] = {"file": uploads.add(probes, "probes")}
        body["forget"] = {"file": uploads.add(forget, "forget")}
        if retain is not None:
            body["retain"] = [{"file": uploads.add(retain, "retain")}]
        if unseen is not None:
            body["unseen"] = {"file": uploads.add(unseen, "unseen")}
        job = client.jobs.create(body)
        uploads.keep()
        out.print(job.id)
        if wait or directory is not None:
            _deliver(client, follow_job(client, job.id, err), directory)


class Uploads:
    """The uploads for one request. `with` deletes them again on leaving, unless `keep` was called."""

    def __init__(self, client: UnlearningClient) -> None:
        self._client = client
        self._files: list[str] = []

    def add(self, file: Path, purpose: Purpose) -> str:
        """Uploads the file and returns its id."""
        self._files.append(upload_file(self._client, file, purpose, err))
        return self._files[-1]

    def keep(self) -> None:
        """Keeps the files, which a job needs now."""
        self._files = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        while self._files:
            file = self._files.pop()
            try:
                self._client.files.delete(file)
            except UnlearningError as failure:
                err.print(f"{file} could not be deleted again ({type(failure).__name__}): unlearn files delete {file}")


def _deliver(client: UnlearningClient, job: Job, directory: Path | None) -> None:
    if job.status != "succeeded":
        err.print(f"[red]{job.status}[/red]" + (f": {job.error.message}" if job.error else ""))
        raise typer.Exit(1)
    if job.checkpoint is None:  # a dry run
        out.print(job.outcome)
        return
    out.print(job.checkpoint)
    if (cost := client.jobs.metrics(job.id).cost) is not None:
        err.print(cost_line(cost), soft_wrap=True)
    if not job.released:
        err.print(f"it waits for a second person: unlearn release {job.checkpoint} --reason …", soft_wrap=True)
    if directory is not None:
        client.checkpoints.download(job.checkpoint, directory)
        out.print(f"{directory}: every file has the sha256 that the checkpoint lists")


def run(
    spec: Annotated[
        Path, typer.Argument(exists=True, dir_okay=False, help="A job spec; docs/architecture.md has an example.")
    ],
    ranks: Annotated[
        int | None, typer.Option(min=1, max=64, help="The number of processes that share the job; default: the spec's.")
    ] = None,
) -> None:
    """Run a job spec without the service; its events are printed as JSON lines."""
    # the child ends itself at the end of its standard input: this process keeps the pipe open until the child is done
    with subprocess.Popen([sys.executable, "-m", "core.pipeline"], stdin=subprocess.PIPE) as child:
        if child.stdin is None:
            raise RuntimeError("the child has no standard input")
        child.stdin.write(_as_line(spec.read_text(), ranks) + b"\n")
        child.stdin.flush()
        code = child.wait()
    raise typer.Exit(code)


def _as_line(spec: str, ranks: int | None) -> bytes:
    """Returns the spec in one line. Text that is not a JSON object is passed on, for the child to report."""
    with contextlib.suppress(ValueError):
        if ranks is not None and isinstance(parsed := json.loads(spec), dict):
            spec = json.dumps(parsed | {"ranks": ranks})
    return spec.replace("\n", " ").encode()
