"""`unlearn pause`, `resume`, `retry`, `cancel`: requested actions on a submitted job."""

from typing import Annotated

import typer

from api.cli.session import Session, service_command
from core.schema.jobs import Job

JobId = Annotated[str, typer.Argument(metavar="JOB", help="The id of the job.")]


@service_command
def pause(session: Session, job: JobId) -> None:
    """Pause a job: it finishes its step, keeps a snapshot and frees its device."""
    _show(session, session.client.jobs.pause(job))


@service_command
def resume(session: Session, job: JobId) -> None:
    """Resume a paused job from its snapshot."""
    _show(session, session.client.jobs.resume(job))


@service_command
def retry(session: Session, job: JobId) -> None:
    """Give a failed job a new attempt."""
    _show(session, session.client.jobs.retry(job))


@service_command
def cancel(session: Session, job: JobId) -> None:
    """Cancel a job for good; a failed one, so that its deadline no longer counts."""
    _show(session, session.client.jobs.cancel(job))


def _show(session: Session, job: Job) -> None:
    session.show(job, job.status + (f", {job.requested} requested" if job.requested else ""))
