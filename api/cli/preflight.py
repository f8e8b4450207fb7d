"""`unlearn preflight`: estimates the weights, memory and disk of a job, without the service and without torch."""

from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.table import Table

from api.cli.exit_codes import REFUSED, WRONG_CALL
from api.cli.output import JsonOption, end_with_error, json_text
from core.preflight import capacity, messages
from core.preflight.estimate import estimate, scratch_bytes
from core.preflight.memory import Memory, Place
from core.preflight.processor import has_fast_bfloat16
from core.preflight.unlearn_workload import UnlearnWorkload
from core.preflight.workload import SetSize, Workload
from core.schema.model_shape import UnusableModel, read_shape
from core.schema.preflight import WorkerClass
from core.schema.training import Lora, MasterWeights, Optimizer, Precision, TrainingRequest
from core.unlearning.objectives import UnknownMethod, fill_training, resolve

out = Console(highlight=False)
_GB = 1 << 30


def preflight(
    model: Annotated[Path, typer.Argument(exists=True, file_okay=False, help="The directory of a model.")],
    method: Annotated[str, typer.Option(help="The unlearning method; 'unlearn methods' lists them.")] = "calibrated",
    records: Annotated[
        int, typer.Option(min=1, help="The number of records to forget, to keep and unseen, each.")
    ] = 200,
    tokens: Annotated[int, typer.Option(min=2, help="The mean number of tokens of a record.")] = 200,
    records_per_step: Annotated[int | None, typer.Option(min=1, help="Records to forget in an update.")] = None,
    max_length: Annotated[int | None, typer.Option(min=2, help="Tokens of a chunk; longer records are cut.")] = None,
    optimizer: Annotated[Optimizer | None, typer.Option(help="The optimizer; default: the method's.")] = None,
    precision: Annotated[Precision | None, typer.Option(help="The precision of the arithmetic.")] = None,
    master_weights: Annotated[
        MasterWeights | None, typer.Option(help="The dtype that the weights are held in.")
    ] = None,
    lora: Annotated[int | None, typer.Option(min=1, max=1024, help="Train adapters of this rank.")] = None,
    checkpointing: Annotated[
        bool, typer.Option("--checkpointing", help="Compute activations again instead of keeping them.")
    ] = False,
    gpus: Annotated[int, typer.Option(min=0, max=64, help="The number of GPUs; 0: the CPU.")] = 0,
    memory: Annotated[
        float | None, typer.Option(min=0, help="GB of each GPU, or of the host; the job is checked to fit into it.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Estimate the weights, memory and disk that a job would take.

    The command reads only the headers of the model's files. Its exit code is 1 where the job exceeds --memory.
    """
    request = TrainingRequest(
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
        parameters = resolve(method, {})
    except (UnusableModel, UnknownMethod, ValidationError) as error:
        end_with_error(str(error), WRONG_CALL, as_json=as_json, prefix="refused: ")
    training = fill_training(request, method, parameters=shape.parameters, forget_records=records, gpus=gpus)
    sets = dict.fromkeys(("forget", "retain", "unseen"), SetSize(records, records * tokens))
    workload = UnlearnWorkload(shape, training, sets, method=parameters, gpus=gpus, bfloat16=has_fast_bfloat16())
    document = _estimate(workload)
    if memory is not None:
        machine = WorkerClass(name="machine", gpus=gpus, memory_bytes=max(1, int(memory * _GB)))
        shortage = capacity.find_shortage(workload, [machine])
        document["fits"] = shortage is None
        if shortage is not None:
            document["shortage"] = messages.describe_shortage(shortage, gpus)
            document["advice"] = messages.fit_advice(capacity.fitting_changes(workload, [machine]))
    if as_json:
        typer.echo(json_text(document))
    else:
        _print(document, memory)
    if document["fits"] is False:
        raise typer.Exit(REFUSED)


def _estimate(workload: Workload) -> dict[str, Any]:
    """Returns the estimate, without a word about a machine."""
    counts, memory = estimate(workload), Memory(workload)
    places: list[Place] = ["device", "host"] if workload.gpus else ["host"]
    peaks = {place: memory.peak(place) for place in places}
    return {
        "weights": counts.parameters,
        "trained_weights": counts.trained_parameters,
        "tokens_of_an_update": round(sum(draw.tokens for draw in workload.draws())),
        "tokens_in_one_forward": workload.training_batch_tokens,
        "memory": {
            place: {
                "phase": peak.name,
                "bytes": peak.total(place),
                "items": {item.name: item.bytes for item in peak.items if item.place == place},
            }
            for place, peak in peaks.items()
        },
        "scratch_bytes": scratch_bytes(workload),
        "fits": None,
    }


def _print(document: dict[str, Any], memory: float | None) -> None:
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column()
    table.add_column(justify="right")
    table.add_row("weights", f"{document['weights']:,}")
    table.add_row("  of them trained", f"{document['trained_weights']:,}")
    table.add_row("tokens of an update", f"{document['tokens_of_an_update']:,}")
    table.add_row("  in one forward", f"{document['tokens_in_one_forward']:,}")
    for place, peak in document["memory"].items():
        where = "of each GPU" if place == "device" else "of the host"
        table.add_row(f"memory {where}, while {peak['phase']}", messages.format_bytes(peak["bytes"]))
        for name, size in sorted(peak["items"].items(), key=lambda item: -item[1]):
            table.add_row(f"  {name}", messages.format_bytes(size))
    table.add_row("disk of the worker", messages.format_bytes(document["scratch_bytes"]))
    out.print(table)
    if document["fits"]:
        out.print(f"\nfits into {memory:g} GB")
    elif document["fits"] is False:
        out.print(f"\ndoes not fit: {document['shortage']}", soft_wrap=True)
        out.print(document["advice"], soft_wrap=True)
