"""`unlearn pause`, `resume`, `retry`, `cancel`: requested actions on a submitted job."""

from typing import Annotated

import typer
from rich.console import Console

from api.cli.connection import open_client
from api.cli.data_folder import DEFAULT_DATA, DataOption
from core.schema.jobs import Job

out = Console(highlight=False)
JobId = Annotated[str, typer.Argument(metavar="JOB", help="The id of the job.")]


def pause(job: JobId, data: DataOption = DEFAULT_DATA) -> None:
    """Pause a job: it finishes its step, keeps a snapshot and frees its device."""
    _request(job, "pause", data)


def resume(job: JobId, data: DataOption = DEFAULT_DATA) -> None:
    """Resume a paused job from its snapshot."""
    _request(job, "resume", data)


def retry(job: JobId, data: DataOption = DEFAULT_DATA) -> None:
    """Give a failed job a new attempt."""
    _request(job, "retry", data)


def cancel(job: JobId, data: DataOption = DEFAULT_DATA) -> None:
    """Cancel a job for good."""
    _request(job, "cancel", data)


def _request(job_id: str, action: str, data: DataOption) -> None:
    with open_client(data) as client:
        job: Job = getattr(client.jobs, action)(job_id)
    out.print(job.status + (f", {job.requested} requested" if job.requested else ""))
