"""`unlearn jobs`: lists, shows, follows and downloads jobs."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from api.cli import job_actions
from api.cli.download import download_checkpoint
from api.cli.follow import follow_to_success
from api.cli.job_actions import JobId
from api.cli.listing import duration_text, fields, table
from api.cli.session import Session, service_command
from core.schema.jobs import UNFULFILLED, Job, Status
from core.schema.verdict_parts import Verdict

app = typer.Typer(help="List, show, follow, download and cancel jobs.", no_args_is_help=True)

COLUMNS = ("job", "status", "model", "verdict", "due", "reference", "submitted (UTC)", "method")


@app.command("list")
@service_command
def list_jobs(
    session: Session,
    status: Annotated[Status | None, typer.Option(help="Only jobs of this status.")] = None,
    model: Annotated[str | None, typer.Option(help="Only jobs on this model.")] = None,
    method: Annotated[str | None, typer.Option(help="Only jobs by this method.")] = None,
    verdict: Annotated[Verdict | None, typer.Option(help="Only jobs with this verdict.")] = None,
    reference: Annotated[str | None, typer.Option(help="Only jobs with this reference of the submitter's.")] = None,
    due_before: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%d"], help="Only jobs due before this day, the soonest first.")
    ] = None,
    overdue: Annotated[bool, typer.Option("--overdue", help="Only unfulfilled jobs whose last day is over.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=100, help="The number of jobs to list.")] = 20,
    after: Annotated[str | None, typer.Option(help="List the jobs that follow this one.")] = None,
) -> None:
    """List jobs, newest first."""
    conditions: dict[str, Any] = {
        "status": status,
        "model": model,
        "method": method,
        "verdict": verdict,
        "external_reference": reference,
        "due_before": due_before and due_before.date(),
        "overdue": overdue or None,
    }
    page = session.client.jobs.page(limit=limit, after=after, **conditions)
    rows = [
        (it.id, _status(it), it.model, it.verdict, it.due, it.external_reference, it.created_at, it.method.name)
        for it in page.data
    ]
    session.show_page(page, table(COLUMNS, rows, width=session.out.width))


@app.command("show")
@service_command
def show(session: Session, job: JobId) -> None:
    """Show a job: its status, its data, its deadline, its result, and what to know about it."""
    it = session.client.jobs.get(job)
    warnings = [f"warning: {warning.message}" for warning in it.warnings]
    session.show(it, fields(_fields(it)), *warnings)


@app.command("follow")
@service_command
def follow(session: Session, job: JobId) -> None:
    """Follow a job to its end. The exit code is 1 unless it succeeds."""
    ended = follow_to_success(session, job)
    session.show(ended, ended.checkpoint or ended.outcome or ended.status)


@app.command("download")
@service_command
def download(
    session: Session,
    job: JobId,
    directory: Annotated[
        Path, typer.Option("--out", file_okay=False, help="The directory for the checkpoint's files.")
    ],
) -> None:
    """Download the checkpoint of a job, and check the sha256 of every file.

    The same command goes on with a download that broke off. Exit code 5: a file has wrong bytes, and is not kept.
    """
    checkpoint = session.client.jobs.get(job).checkpoint
    if checkpoint is None:
        session.fail(f"{job} has made no checkpoint")
    described = download_checkpoint(session, checkpoint, directory)
    session.show(
        {"directory": str(directory), "checkpoint": described.model_dump(mode="json")},
        f"{directory}: every file has the sha256 that the checkpoint lists",
    )


for action in (job_actions.cancel, job_actions.pause, job_actions.resume, job_actions.retry):
    app.command()(action)


def _status(job: Job) -> str:
    return job.status + (f", {job.requested} requested" if job.requested else "")


def _fields(job: Job) -> dict[str, object]:
    ended = job.finished_at or datetime.now(UTC)
    progress = job.progress if job.status == "running" else None
    return {
        "job": job.id,
        "status": _status(job),
        "waits for": job.waiting_for,
        "phase": job.phase and job.phase.replace("_", " "),
        "progress": progress and f"{100 * progress.fraction:.0f} %",
        "time left": duration_text(progress.eta) if progress and progress.eta is not None else None,
        "error": job.error and job.error.message,
        "outcome": job.outcome and job.outcome.replace("_", " "),
        "verdict": job.verdict and job.verdict.replace("_", " "),
        "checkpoint": job.checkpoint,
        "released": job.released,
        "model": f"{job.model}, from its {job.start}" if job.start in ("head", "base") else f"{job.model}, {job.start}",
        "method": job.method.name,
        "data": ", ".join(f"{it.name} {it.records} records" for it in job.data),
        "policy": job.evaluation.policy,
        "reference": job.external_reference,
        "due": _due(job),
        "submitted (UTC)": job.created_at,
        "started (UTC)": job.started_at,
        "ended (UTC)": job.finished_at,
        "took": duration_text((ended - job.started_at).total_seconds()) if job.started_at else None,
        "attempts": job.attempts,
        "shared run": job.shared_run
        and ("led by this job" if job.shared_run == job.id else f"led by {job.shared_run}"),
    }


def _due(job: Job) -> str | None:
    """Returns the last day, and how many days are left, while the deadline counts: of a failed job, too."""
    if job.due is None:
        return None
    if job.status not in UNFULFILLED:
        return job.due.isoformat()
    days = (job.due - datetime.now(UTC).date()).days  # the service counts days in UTC
    left = f"in {days} days" if days > 1 else "tomorrow" if days == 1 else "today" if days == 0 else "overdue"
    return f"{job.due.isoformat()} ({left})"
