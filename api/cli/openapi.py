"""`unlearn openapi`: the OpenAPI document of this version, without a running service."""

import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer


def openapi(
    out: Annotated[
        Path | None, typer.Option(dir_okay=False, help="Write the document to this file; default: print it.")
    ] = None,
) -> None:
    """Print or write the OpenAPI document, from which clients can be generated."""
    # a process of its own: the command knows the service over HTTP alone
    made = subprocess.run([sys.executable, "-m", "api.document"], stdout=subprocess.PIPE, check=False)
    if made.returncode:
        raise typer.Exit(made.returncode)
    if out is None:
        typer.echo(made.stdout, nl=False)
    else:
        out.write_bytes(made.stdout)
