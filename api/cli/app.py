"""The `unlearn` command. Work that needs torch is done in child processes."""

import typer

from api.cli.commands import Commands

app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,  # locals may hold forget data
)


@app.callback()
def unlearn() -> None:
    """Make language models forget text, measure what is left, and keep the evidence."""
