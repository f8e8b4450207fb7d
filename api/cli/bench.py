"""`unlearn bench`: starts a benchmark. Each one is a program of the folder `benchmarks`, with options of its own."""

import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec

import typer
from rich.console import Console

BENCHMARKS = {
    "methods": "Run every method and every measurement, beside a retrained model, on the demo's data, TOFU and LUME.",
    "relearning": "Attack unlearned models by relearning, by attack and defence, beside a retrained model.",
    "measuring": "Time measuring and unlearning by the number of records to forget.",
    "throughput": "Compare this service's trainer with a plain one: tokens per second, memory, losses.",
    "start-up": "Time a job from request to first update, with and without a waiting child process.",
    "snapshots": "Time writing and reading a job's snapshot, sealed as it is and in plain files.",
    "interruptions": "Run every method on the demo's model, undisturbed and killed in the middle; compare the weights.",
}
"""Each benchmark's name on the command line, and its line of help."""

app = typer.Typer(no_args_is_help=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)

_PASS_ON_ALL_OPTIONS = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}


@app.callback()
def benchmarks() -> None:
    """Make the figures of docs/benchmarks.md.

    Each benchmark prints its table and, with --out, writes it into a Markdown file. 'unlearn bench NAME --help' shows
    its options.
    """


def _command(name: str) -> Callable[[typer.Context], None]:
    def command(context: typer.Context) -> None:
        raise typer.Exit(run_benchmark(name, context.args))

    return command


for _name, _help in BENCHMARKS.items():
    app.command(_name, context_settings=_PASS_ON_ALL_OPTIONS, help=_help)(_command(_name))


def run_benchmark(name: str, arguments: list[str]) -> int:
    """Runs a benchmark to its end and returns its exit code; 1 where `benchmarks` is not installed, as in the image."""
    if find_spec("benchmarks") is None:
        err.print("the benchmarks are not installed here: run this command in a checkout of the repository")
        return 1
    command = [sys.executable, "-m", f"benchmarks.{name.replace('-', '_')}", *arguments]
    with subprocess.Popen(command) as program:  # noqa: S603 - our own program
        while True:
            try:
                return program.wait()
            except KeyboardInterrupt:
                continue  # Ctrl-C has reached the program as well, which first stops the services it has started
