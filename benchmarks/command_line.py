"""The command line of a benchmark whose options are a function's parameters, as typer reads them."""

from collections.abc import Callable

import typer


def run(benchmark: Callable[..., None], *, name: str) -> None:
    """Runs the benchmark with this process's arguments, named as `unlearn bench NAME`, and ends the process."""
    app = typer.Typer(add_completion=False, pretty_exceptions_show_locals=False)  # locals may hold forget data
    app.command()(benchmark)
    app(prog_name=f"unlearn bench {name}")
