"""Where an update's time goes: `python -m benchmarks.profile --help`. This service's trainer, or the plain one."""

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
from benchmarks.throughput import Only, Precision, Shape
from core.lm.model import device as first_device

console = Console(highlight=False)
BEFORE = 2
"""Updates that are not looked at, so that the one that is has everything in place."""


class Which(StrEnum):
    core = "core"
    plain = "plain"


def show(
    method: str = "ascent_kl",
    shape: Shape = Shape.small,
    vocabulary: int = 32_768,
    lengths: Only = Only.short,
    records: Annotated[int | None, typer.Option(help="of each set in an update; default: 16 short or 2 full")] = None,
    precision: Precision = Precision.float32,
    side: Which = Which.core,
    top: Annotated[int, typer.Option(min=1, help="operations to show")] = 20,
    by_shape: Annotated[bool, typer.Option(help="one line for each shape of an operation's inputs")] = False,
) -> None:
    """The operations of one update that take most time themselves, and what memory they ask for."""
    if method not in METHODS:
        raise typer.BadParameter(f"choose of {', '.join(METHODS)}")
    count = records or (2 if lengths == Only.full else 16)
    case = Case(method, shape.value, vocabulary, lengths.value, BEFORE + 1, count, count, precision=precision.value)
    device = first_device()
    cuda = device.type == "cuda"
    activities = [ProfilerActivity.CPU, ProfilerActivity.CUDA] if cuda else [ProfilerActivity.CPU]
    profiler = profile(activities=activities, record_shapes=by_shape, profile_memory=True)

    def observe(step: int, losses: dict[str, float]) -> None:
        if step == BEFORE:
            profiler.start()
        elif step > BEFORE:
            if cuda:
                torch.cuda.synchronize(device)
            profiler.stop()

    SIDES[side.value](case, build_model(case, device), build_tokenizer(vocabulary), observe)
    averages = profiler.key_averages(group_by_input_shape=by_shape)
    console.print(f"{side.value}: {case.title()}, {precision.value}", soft_wrap=True)
    console.print(table(list(averages), top=top, cuda=cuda, by_shape=by_shape))


def table(operations: list[FunctionEventAvg], *, top: int, cuda: bool, by_shape: bool) -> Table:
    """The `top` operations by the time that is their own, on the GPU where there is one; below them, all together."""

    def own(one: FunctionEventAvg) -> float:
        return float(one.self_device_time_total if cuda else one.self_cpu_time_total)

    in_all = sum(map(own, operations))
    made = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, header_style="bold", show_footer=True)
    made.add_column("operation", "all", no_wrap=True, max_width=40)
    for name, width, footer in (("ms", 8, f"{in_all / 1e3:,.1f}"), ("share", 6, ""), ("calls", 6, ""), ("MiB", 7, "")):
        made.add_column(name, footer, justify="right", no_wrap=True, min_width=width)
    if by_shape:
        made.add_column("shapes")
    for one in sorted(operations, key=own, reverse=True)[:top]:
        memory = one.self_device_memory_usage if cuda else one.self_cpu_memory_usage
        cells = [one.key, f"{own(one) / 1e3:,.1f}", f"{own(one) / in_all:.1%}", f"{one.count:,}"]
        cells += [f"{memory / 2**20:,.0f}", *((str(one.input_shapes),) if by_shape else ())]
        made.add_row(*cells)
    return made


if __name__ == "__main__":
    typer.run(show)
