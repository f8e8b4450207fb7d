"""`unlearn bench throughput`: this service's trainer beside what public trainers do, in tables. It loads no torch."""

import shlex
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from benchmarks.case import METHODS, Case, Lengths
from benchmarks.command_line import run
from benchmarks.generated_page import replace_section
from benchmarks.machine import Machine, current_machine
from benchmarks.race import Result, SideFailed, race
from benchmarks.table import markdown, tables

console = Console(highlight=False)
LLAMA_VOCABULARY = 128_256
VOCABULARIES = (2_048, 32_768)


class Precision(StrEnum):
    float32 = "float32"
    bfloat16 = "bfloat16"


class TableChoice(StrEnum):
    short = "short"
    full = "full"


class Shape(StrEnum):
    tiny = "tiny"
    small = "small"
    llama_1b = "llama-1b"
    llama_8b = "llama-8b"


def throughput(
    precision: Annotated[
        Precision, typer.Option(help="The arithmetic of the small model; the Llamas use bfloat16.")
    ] = (Precision.float32),
    steps: Annotated[int, typer.Option(min=2, help="Updates of each side; the first one is not timed.")] = 6,
    only: Annotated[TableChoice | None, typer.Option(help="Only records of this kind.")] = None,
    vocabulary: Annotated[
        int | None, typer.Option(min=64, help=f"Of the small model; default: {VOCABULARIES[0]} and {VOCABULARIES[1]}.")
    ] = None,
    shape: Annotated[
        list[Shape] | None, typer.Option(help="A model. May be repeated; default: small, and on CUDA the Llamas.")
    ] = None,
    method: Annotated[
        list[str] | None, typer.Option(help=f"A method. May be repeated; default: {', '.join(METHODS)}.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="The Markdown file whose table is replaced, or added.")] = None,
) -> None:
    """Compare tokens per second, peak memory and losses of this service's trainer and a plain one, update by update."""
    if unknown := [name for name in method or [] if name not in METHODS]:
        raise typer.BadParameter(f"the plain trainer has no {unknown[0]}: choose of {', '.join(METHODS)}")
    machine = current_machine()
    shapes = shape or [Shape.small, Shape.llama_1b, Shape.llama_8b]
    if machine.device != "cuda" and (large := [name.value for name in shapes if name.value.startswith("llama")]):
        left_out = f"left out: {' and '.join(large)}, which need a CUDA device ({machine.why_no_cuda})"
        console.print(left_out, soft_wrap=True)
        shapes = [name for name in shapes if name.value not in large]
    lengths: list[Lengths] = [only.value] if only else ["short", "full"]
    cases = list(_cases(shapes, lengths, method or METHODS, vocabulary, precision.value, steps))
    console.print(machine.description(), soft_wrap=True)
    results = [_measure(case, machine, f"{number} of {len(cases)}") for number, case in enumerate(cases, 1)]
    if not results:
        raise typer.BadParameter("no shape is left to measure")
    for table in tables(results):
        console.print(table)
    if out is not None:
        write(out, results, machine, precision.value)


def _cases(
    shapes: list[Shape],
    lengths: list[Lengths],
    methods: Sequence[str],
    vocabulary: int | None,
    precision: str,
    steps: int,
) -> Iterator[Case]:
    for shape in shapes:
        large = shape.value.startswith("llama")
        for words in (LLAMA_VOCABULARY,) if large else (vocabulary,) if vocabulary else VOCABULARIES:
            for length in lengths:
                for method in methods:
                    records, batch = (64, 16) if large else (16, 16)
                    if length == "full":
                        records, batch = (8, 2) if large else (2, 2)
                    case = Case(method, shape.value, words, length, steps, records, batch)
                    if large or precision == "bfloat16":
                        case = replace(case, precision="bfloat16")
                    yield replace(case, weights="bfloat16") if shape is Shape.llama_8b else case


def _measure(case: Case, machine: Machine, number: str) -> Result:
    with console.status(case.title()) as status:
        try:
            result = race(
                case,
                interleaved=machine.device == "cpu",
                report=lambda text: status.update(f"{number}: {case.title()}: {text}"),
            )
        except SideFailed as failure:
            console.print(str(failure), markup=False)
            raise typer.Exit(1) from None
    if result.complete:
        outcome = f"{result.speedup():.2f} times the tokens/s, {result.memory_ratio():.2f} of the memory"
    else:
        outcome = "out of memory: " + ", ".join(
            name for name, track in (("core", result.core), ("plain", result.plain)) if track.out_of_memory
        )
    console.print(f"{number}: {case.title()}: {outcome}", soft_wrap=True)
    return result


def write(page: Path, results: list[Result], machine: Machine, precision: str) -> None:
    """Writes the table between its marks in `page`, or at its end. Each device and precision has a table of its own."""
    name = f"throughput-{machine.device}-{precision}"
    text = page.read_text()
    if f"<!-- {name} -->" not in text:
        page.write_text(f"{text.rstrip()}\n\n<!-- {name} -->\n<!-- /{name} -->\n")
    command = shlex.join(["unlearn", "bench", "throughput", *sys.argv[1:]])
    replace_section(
        page, name, f"Made {datetime.now(UTC):%Y-%m-%d} by `{command}`: {machine.description()}.\n\n{markdown(results)}"
    )


if __name__ == "__main__":
    run(throughput, name="throughput")
