"""`unlearn pause`, `resume`, `retry`, `cancel`: what is wished of a job that was submitted."""

from typing import Annotated
from urllib.parse import quote

import typer
from rich.console import Console

from api.cli.connection import open_client
from api.cli.up import DEFAULT_DATA, DataOption

out = Console(highlight=False)
JobId = Annotated[str, typer.Argument(metavar="JOB", help="the job's id")]


def pause(job: JobId, data: DataOption = DEFAULT_DATA) -> None:
    """Let a job finish its step, keep a snapshot and free its device."""
    _wish(job, "pause", data)


def resume(job: JobId, data: DataOption = DEFAULT_DATA) -> None:
    """Let a paused job go on from its snapshot."""
    _wish(job, "resume", data)


def retry(job: JobId, data: DataOption = DEFAULT_DATA) -> None:
    """Give a failed job a new attempt."""
    _wish(job, "retry", data)


def cancel(job: JobId, data: DataOption = DEFAULT_DATA) -> None:
    """End a job for good."""
    _wish(job, "cancel", data)


def _wish(job: str, wish: str, data: DataOption) -> None:
    with open_client(data) as client:
        became = client.post(f"/v1/jobs/{quote(job, safe='')}/{wish}")
    out.print(became["status"] + (f", {became['requested']} requested" if became["requested"] else ""))
