"""`unlearn bench`: figures for docs/benchmarks.md, made by running what they are of, never typed."""

import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec

import typer
from rich.console import Console

from benchmarks.interruptions import interruptions
from benchmarks.start_up import start_up

app = typer.Typer(help="measure, side by side", no_args_is_help=True)
console = Console(highlight=False)

_ITS_OWN = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}


@app.callback()
def benches() -> None:
    """Each bench prints its table and, with --out, puts it into a Markdown file."""


_OF_A_CHECKOUT = {
    "methods": "Every method by every measurement, beside a model retrained for real: the demo's data, TOFU, LUME.",
    "measuring": "What measuring costs beside unlearning, by the number of records to forget.",
    "throughput": "This service's trainer beside a plain one: tokens per second, memory, losses.",
}
"""Programs of `benchmarks`, with options of their own."""


def _command(name: str) -> Callable[[typer.Context], None]:
    def command(context: typer.Context) -> None:
        raise typer.Exit(_benchmark(name, context.args))

    return command


for _name, _help in _OF_A_CHECKOUT.items():
    app.command(_name, context_settings=_ITS_OWN, help=_help)(_command(_name))
app.command("start-up")(start_up)
app.command("interruptions")(interruptions)


def _benchmark(name: str, arguments: list[str]) -> int:
    """Hands the arguments to `benchmarks`, which a service that is only run does not have; returns its exit code."""
    if find_spec("benchmarks") is None:
        console.print("the benchmarks are not installed here: run this in a checkout of the repository")
        return 1
    command = [sys.executable, "-m", f"benchmarks.{name}", *arguments]
    return subprocess.run(command, check=False).returncode  # noqa: S603 - our own program
