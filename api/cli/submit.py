"""`unlearn submit`: a job through the service; `unlearn run`: the child process alone, without the service."""

import contextlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from api.cli.download import download_checkpoint
from api.cli.follow import follow_to_success
from api.cli.session import Session, service_command
from api.cli.uploads import Uploads
from core.schema.jobs import Job


@service_command
def submit(
    session: Session,
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
    combine: Annotated[
        bool, typer.Option("--combine", help="Share a run with other waiting jobs on the same model, where possible.")
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
) -> None:
    """Submit a job that makes a model forget a file of records.

    With --wait or --out the exit code is 1 unless the job succeeds.
    """
    client = session.client
    with Uploads(client, session.err) as uploads:
        # an unknown model fails here, before personal data leaves this machine for nothing
        client.models.get(model)
        body: dict[str, Any] = {"model": model, "method": method, "from": start, "output": output}
        if lora is not None:
            body["training"] = {"lora": {"rank": lora}}
        evaluation = {"policy": policy, "measure": measure}
        body["evaluation"] = {name: value for name, value in evaluation.items() if value}
        if dry_run:
            body["dry_run"] = True
        if combine:
            body["combine"] = True
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
    session.say(job.id)
    if wait or directory is not None:
        job = follow_to_success(session, job.id)
        _deliver(session, job, directory)
    if session.as_json:
        session.show(job)


def _deliver(session: Session, job: Job, directory: Path | None) -> None:
    if job.checkpoint is None:  # a dry run
        session.say(str(job.outcome))
        return
    session.say(job.checkpoint)
    if directory is not None:
        download_checkpoint(session, job.checkpoint, directory)
        session.say(f"{directory}: every file has the sha256 that the checkpoint lists")


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
