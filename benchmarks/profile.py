"""Profile of an update of this service's trainer or of the plain trainer: `python -m benchmarks.profile --help`."""

from enum import StrEnum
from typing import Annotated

import torch
import typer
from rich import box
from rich.console import Console
from rich.table import Table
from torch.autograd.profiler_util import FunctionEventAvg
from torch.profiler import ProfilerActivity, profile

from benchmarks.case import METHODS, Case
from benchmarks.model import build_model, build_tokenizer
from benchmarks.side import SIDES
from benchmarks.throughput import Precision, Shape, TableChoice
from core.lm.model import device as first_device

console = Console(highlight=False)
UPDATES_BEFORE = 2
"""Updates before the profiled update, so that everything is set up by then."""


class SideName(StrEnum):
    core = "core"
    plain = "plain"


def show(
    method: str = "ascent_kl",
    shape: Shape = Shape.small,
    vocabulary: int = 32_768,
    lengths: TableChoice = TableChoice.short,
    records: Annotated[int | None, typer.Option(help="of each set in an update; default: 16 short or 2 full")] = None,
    precision: Precision = Precision.float32,
    side: SideName = SideName.core,
    top: Annotated[int, typer.Option(min=1, help="operations to show")] = 20,
    by_shape: Annotated[bool, typer.Option(help="one line for each shape of an operation's inputs")] = False,
) -> None:
    """Show the operations of an update that take the most time of their own, and the memory that they request."""
    if method not in METHODS:
        raise typer.BadParameter(f"choose of {', '.join(METHODS)}")
    count = records or (2 if lengths == TableChoice.full else 16)
    case = Case(
        method, shape.value, vocabulary, lengths.value, UPDATES_BEFORE + 1, count, count, precision=precision.value
    )
    device = first_device()
    cuda = device.type == "cuda"
    activities = [ProfilerActivity.CPU, ProfilerActivity.CUDA] if cuda else [ProfilerActivity.CPU]
    profiler = profile(activities=activities, record_shapes=by_shape, profile_memory=True)

    def observe(step: int, losses: dict[str, float]) -> None:
        if step == UPDATES_BEFORE:
            profiler.start()
        elif step > UPDATES_BEFORE:
            if cuda:
                torch.cuda.synchronize(device)
            profiler.stop()

    SIDES[side.value](case, build_model(case, device), build_tokenizer(vocabulary), observe)
    averages = profiler.key_averages(group_by_input_shape=by_shape)
    console.print(f"{side.value}: {case.title()}, {precision.value}", soft_wrap=True)
    console.print(operation_table(list(averages), top=top, cuda=cuda, by_shape=by_shape))


def operation_table(operations: list[FunctionEventAvg], *, top: int, cuda: bool, by_shape: bool) -> Table:
    """Returns the `top` operations by their own time, on the GPU if there is one, and the total below them."""

    def own_time(operation: FunctionEventAvg) -> float:
        return float(operation.self_device_time_total if cuda else operation.self_cpu_time_total)

    total = sum(map(own_time, operations))
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, header_style="bold", show_footer=True)
    table.add_column("operation", "all", no_wrap=True, max_width=40)
    for name, width, footer in (("ms", 8, f"{total / 1e3:,.1f}"), ("share", 6, ""), ("calls", 6, ""), ("MiB", 7, "")):
        table.add_column(name, footer, justify="right", no_wrap=True, min_width=width)
    if by_shape:
        table.add_column("shapes")
    for operation in sorted(operations, key=own_time, reverse=True)[:top]:
        memory = operation.self_device_memory_usage if cuda else operation.self_cpu_memory_usage
        cells = [operation.key, f"{own_time(operation) / 1e3:,.1f}", f"{own_time(operation) / total:.1%}"]
        cells.append(f"{operation.count:,}")
        cells += [f"{memory / 2**20:,.0f}", *((str(operation.input_shapes),) if by_shape else ())]
        table.add_row(*cells)
    return table


if __name__ == "__main__":
    typer.run(show)
