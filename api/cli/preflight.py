"""`unlearn preflight`: what a job on a model directory would take, without server and without torch."""

from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.table import Table

from core.preflight import capacity, messages
from core.preflight.estimate import estimate, scratch_bytes
from core.preflight.memory import Memory, Place
from core.preflight.processor import has_fast_bfloat16
from core.preflight.workload import SetSize, Workload
from core.schema.model_shape import UnusableModel, read_shape
from core.schema.preflight import WorkerClass
from core.schema.training import Lora, MasterWeights, Optimizer, Precision, TrainingRequest
from core.unlearning.objectives import UnknownMethod, fill_training, resolve

out, err = Console(highlight=False), Console(stderr=True, highlight=False)
_GB = 1 << 30


def preflight(
    model: Annotated[Path, typer.Argument(exists=True, file_okay=False, help="a model directory")],
    method: Annotated[str, typer.Option(help="see 'unlearn methods'")] = "calibrated",
    records: Annotated[int, typer.Option(min=1, help="records to forget; as many to retain and unseen")] = 200,
    tokens: Annotated[int, typer.Option(min=2, help="of a record, on the average")] = 200,
    records_per_step: Annotated[int | None, typer.Option(min=1)] = None,
    max_length: Annotated[int | None, typer.Option(min=2)] = None,
    optimizer: Annotated[Optimizer | None, typer.Option()] = None,
    precision: Annotated[Precision | None, typer.Option()] = None,
    master_weights: Annotated[MasterWeights | None, typer.Option()] = None,
    lora: Annotated[int | None, typer.Option(min=1, max=1024, help="adapters of this rank")] = None,
    checkpointing: Annotated[bool, typer.Option("--checkpointing", help="recompute activations")] = False,
    gpus: Annotated[int, typer.Option(min=0, max=64)] = 0,
    memory: Annotated[float | None, typer.Option(min=0, help="GB that a GPU, or the host, has: does it fit?")] = None,
) -> None:
    """What a job would take: weights, memory, disk. Reads headers only; exit code 1 where it does not fit."""
    asked = TrainingRequest(
        records_per_step=records_per_step,
        max_length=max_length,
        optimizer=optimizer,
        precision=precision,
        master_weights=master_weights,
        lora=None if lora is None else Lora(rank=lora),
        checkpointing=checkpointing or None,
    )
    try:
        shape = read_shape(model.resolve(), root=model.resolve())
        chosen = resolve(method, {})
    except (UnusableModel, UnknownMethod, ValidationError) as error:
        err.print(f"[red]refused:[/red] {error}")
        raise typer.Exit(2) from None
    training = fill_training(asked, method, parameters=shape.parameters, forget_records=records)
    sets = dict.fromkeys(("forget", "retain", "unseen"), SetSize(records, records * tokens))
    work = Workload(shape, chosen, training, sets, gpus=gpus, bfloat16=has_fast_bfloat16())
    _show(work)
    if memory is not None:
        machine = WorkerClass(name="machine", gpus=gpus, memory_bytes=max(1, int(memory * _GB)))
        lacking = capacity.find_shortage(work, [machine])
        if lacking is not None:
            out.print(f"\ndoes not fit: {messages.describe_shortage(lacking, gpus)}", soft_wrap=True)
            out.print(messages.fit_advice(capacity.fitting_changes(work, [machine])), soft_wrap=True)
            raise typer.Exit(1)
        out.print(f"\nfits into {memory:g} GB")


def _show(work: Workload) -> None:
    found, memory = estimate(work), Memory(work)
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column()
    table.add_column(justify="right")
    table.add_row("weights", f"{found.parameters:,}")
    table.add_row("  of them trained", f"{found.trained_parameters:,}")
    table.add_row("tokens of an update", f"{sum(one.tokens for one in work.drawn()):,.0f}")
    table.add_row("  in one forward", f"{work.micro_batch:,}")
    places: list[Place] = ["device", "host"] if work.gpus else ["host"]
    for place in places:
        peak = memory.peak(place)
        where = "of each GPU" if place == "device" else "of the host"
        table.add_row(f"memory {where}, while {peak.name}", messages.format_bytes(peak.total(place)))
        for item in sorted((one for one in peak.items if one.place == place), key=lambda one: -one.bytes):
            table.add_row(f"  {item.what}", messages.format_bytes(item.bytes))
    table.add_row("disk of the worker", messages.format_bytes(scratch_bytes(work)))
    out.print(table)
