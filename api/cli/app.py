"""The `unlearn` command. Work that needs torch is done in child processes."""

from importlib.metadata import version
from typing import Annotated

import typer

from api.cli.commands import Commands

app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,  # locals may hold forget data
)


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"unlearn {version('unlearning-service')}")
        raise typer.Exit


@app.callback()
def unlearn(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Make language models forget text, measure what is left, and keep the evidence."""
