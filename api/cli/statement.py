"""`unlearn statement`: the signed statement about a job's checkpoint, for `unlearn verify`."""

from pathlib import Path
from typing import Annotated

import typer

from api.cli.job_actions import JobId
from api.cli.output import json_text
from api.cli.session import Session, service_command


@service_command
def statement(
    session: Session,
    job: JobId,
    out: Annotated[Path | None, typer.Option(dir_okay=False, help="Write the statement to this file.")] = None,
    keys: Annotated[
        Path | None, typer.Option(dir_okay=False, help="Write the signer's public keys to this file, as well.")
    ] = None,
) -> None:
    """Print the signed statement about a job's checkpoint, or write it to a file that 'unlearn verify' reads."""
    if out is None:
        typer.echo(json_text(session.client.statements.get(job)))
    else:
        session.client.statements.download(job, out)
    if keys is not None:
        session.client.statements.download_keys(keys)
    if out is not None:
        check = f"unlearn verify {out}" + (f" --keys {keys}" if keys is not None else "")
        session.show({"file": str(out), "keys": str(keys) if keys else None}, f"{out}: check it with {check}")
