"""`unlearn measure`: measures a model in a directory on files of records, without the service."""

import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from pydantic import BaseModel, ValidationError
from rich.console import Console

from api.cli.child import ChildFailed, child_events
from api.cli.cost_line import cost_line
from api.cli.figures import print_figures, print_table
from api.cli.policy_text import judgement_table, parts_text
from api.cli.progress import progress_bar
from core.evaluation.measurements import UnknownMeasurement, resolve_measurements
from core.evaluation.presets import PRESETS, Preset, preset_table
from core.schema.adapters import ADAPTER_CONFIG
from core.schema.default_policy import DEFAULT_POLICY
from core.schema.evaluation import MeasurementChoice, Measurements
from core.schema.events import CostReported, Judged, Measured, PhaseStarted, Warned
from core.schema.file_kind import UnknownFileKind, detect_file_kind
from core.schema.job_spec import FileRecords, MeasureSpec
from core.schema.model_shape import UnusableModel, read_shape
from core.schema.models import ModelShape
from core.schema.policies import Judgement, Policy
from core.schema.training import MasterWeights
from core.unlearning.eval_tokenization import default_eval_settings

out, err = Console(highlight=False), Console(stderr=True, highlight=False)

PHASES = {
    "loading": "loading",
    "measuring_before": "measuring the models to compare with",
    "measuring_after": "measuring",
    "attacking": "attacking",
}
Dtype = Literal["auto", "float32", "bfloat16", "float16"]


def measure(
    model: Annotated[
        Path, typer.Argument(exists=True, file_okay=False, help="The directory of a model, or of an adapter.")
    ],
    forget: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="The records that the model must forget.")
    ] = None,
    retain: Annotated[
        list[Path] | None,
        typer.Option(exists=True, dir_okay=False, help="Records that the model must keep. May be repeated."),
    ] = None,
    unseen: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="Similar records that the model never saw.")
    ] = None,
    general: Annotated[Path | None, typer.Option(exists=True, dir_okay=False, help="Text for general ability.")] = None,
    probes: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="Questions about what must be forgotten.")
    ] = None,
    protected: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="Questions about what must be kept.")
    ] = None,
    retrained_model: Annotated[
        Path | None,
        typer.Option(
            "--retrained-model",
            "--reference-model",
            exists=True,
            file_okay=False,
            help="The directory of a model that was retrained without the forget set.",
        ),
    ] = None,
    before: Annotated[
        Path | None,
        typer.Option(exists=True, file_okay=False, help="The model before unlearning; an adapter is loaded on it."),
    ] = None,
    policy: Annotated[
        str | None,
        typer.Option(help="Judge the model by this policy: 'default', or a JSON file. Needs --before."),
    ] = None,
    measures: Annotated[
        list[str] | None,
        typer.Option(
            "--measure",
            help="A measurement, a group, or JSON with parameters; 'unlearn measurements' lists them. May be repeated.",
        ),
    ] = None,
    preset: Annotated[
        Preset | None, typer.Option(help="Make the table of this benchmark, with the benchmark's own names.")
    ] = None,
    max_length: Annotated[int | None, typer.Option(min=2, help="Tokens of a chunk; longer records are cut.")] = None,
    chat: Annotated[
        Literal["auto", "raw", "template"] | None, typer.Option(help="How messages become text; default: auto.")
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, max=(1 << 31) - 1, help="The seed of random draws.")] = None,
    dtype: Annotated[Dtype, typer.Option(help="The dtype that the model was registered with.")] = "auto",
    master_weights: Annotated[
        MasterWeights | None, typer.Option(help="The dtype that the weights are held in.")
    ] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads. Another number rounds differently.")] = None,
    json_out: Annotated[
        Path | None, typer.Option("--json", dir_okay=False, help="Write all figures to this file.")
    ] = None,
    cache: Annotated[Path | None, typer.Option(file_okay=False, help="Keep measurements in this directory.")] = None,
    benchmark_tasks: Annotated[
        Path | None, typer.Option(exists=True, file_okay=False, help="A directory of tasks for 'benchmarks'.")
    ] = None,
    benchmark_code: Annotated[
        bool, typer.Option("--benchmark-code", help="Let tasks run code that the model writes.")
    ] = False,
) -> None:
    """Measure a model without the service.

    A job measures in the same way: on the same halves of the files, with the same code and defaults.
    """
    sets = FileRecords(
        forget=forget,
        retain=retain or [],
        unseen=unseen,
        only_general=general,
        probes=probes,
        protected=protected,
    )
    choices = [_choice(text) for text in measures or ([] if preset else ["standard"])]
    choices += PRESETS[preset].measure if preset else ()
    base = _base(model, before)
    shape = _check(base or model, sets, choices, {"--before": before, "--retrained-model": retrained_model})
    if max_length is not None and shape.within_context(max_length) < max_length:
        raise typer.BadParameter(
            f"the model's context is {shape.context} tokens: choose at most so many", param_hint="--max-length"
        )
    training = default_eval_settings(shape, max_length=max_length, chat=chat, seed=seed, master_weights=master_weights)
    policy_to_judge_by = _policy(policy)
    with tempfile.TemporaryDirectory(prefix="unlearn-") as private:
        spec = MeasureSpec(
            job="unlearn-measure",
            model=model.resolve().name,
            directory=model.resolve(),
            dtype=dtype,
            training=training,
            records=sets,
            scratch=Path(private),
            measure=choices,
            retrained=retrained_model,
            original=before,
            base=base,
            policy=policy_to_judge_by,
            cache=cache,
            benchmark_tasks=None if benchmark_tasks is None else benchmark_tasks.resolve(),
            benchmark_code=benchmark_code,
            threads=threads,
        )
        result = _measure(spec)
    for moment, title in (("before", "before"), ("retrained", "the retrained model"), ("after", "the model")):
        if measurements := result.measurements.get(moment):
            if len(result.measurements) > 1:
                out.print(f"[bold]{title}[/bold]")
            print_figures(measurements, out)
    preset_values = preset_table(preset, result.measurements["after"]) if preset else None
    if preset_values is not None:
        print_table(f"as {preset} has it", preset_values, out)
    if result.judgement is not None:
        why = f" ({result.judgement.reason.replace('_', ' ')})" if result.judgement.reason else ""
        out.print(judgement_table(result.judgement, width=out.width))
        out.print(f"policy {result.judgement.policy}: [bold]{result.judgement.verdict.replace('_', ' ')}[/bold]{why}")
        out.print(parts_text(result.judgement.model_dump(mode="json")["parts"]))
    if result.cost is not None:
        out.print(cost_line(result.cost), soft_wrap=True)
    if json_out is not None:
        _write(json_out, _report(spec, result, preset_values))


@dataclass
class MeasureResult:
    """The results that the child reported."""

    measurements: dict[str, Measurements] = field(default_factory=dict)
    """By the moment: before, retrained, after."""
    judgement: Judgement | None = None
    cost: CostReported | None = None


def _check(
    model: Path,
    sets: FileRecords,
    choices: list[str | MeasurementChoice],
    other_models: Mapping[str, Path | None],
) -> ModelShape:
    """Checks the options and returns the model's shape. Ends the command with code 2 where one of them is wrong."""
    files = _files(sets)
    if not files:
        raise typer.BadParameter("name at least one file of records, such as --forget")
    for option, file in files:
        try:
            detect_file_kind(file.name)
        except UnknownFileKind as error:
            raise typer.BadParameter(f"{file.name}: {error}", param_hint=option) from None
    try:
        resolve_measurements(choices)
        shape = _shape(model)
        for option, directory in other_models.items():
            if directory is not None and _shape(directory).vocabulary != shape.vocabulary:
                raise typer.BadParameter(
                    "it has another vocabulary than the model: name a model with the same tokenizer", param_hint=option
                )
    except (UnusableModel, UnknownMeasurement) as error:
        raise typer.BadParameter(str(error)) from None
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False, include_context=False)[0]
        detail = f"{error.title}, {'.'.join(map(str, first['loc']))}: {first['msg']}"
        raise typer.BadParameter(detail, param_hint="--measure") from None
    return shape


def _base(model: Path, before: Path | None) -> Path | None:
    """Returns the model that an adapter is loaded on, or None where the directory holds a model."""
    if not (model / ADAPTER_CONFIG).is_file() or (model / "config.json").is_file():
        return None
    if before is None:
        raise typer.BadParameter("it holds an adapter alone: name the model that it was trained on with --before")
    return before.resolve()


def _policy(option: str | None) -> Policy | None:
    if option is None or option == DEFAULT_POLICY.name:
        return DEFAULT_POLICY if option else None
    try:
        return Policy.model_validate_json(Path(option).read_bytes())
    except OSError as error:
        detail = f"neither '{DEFAULT_POLICY.name}' nor a file that can be read ({type(error).__name__})"
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False, include_context=False)[0]
        detail = f"{'.'.join(map(str, first['loc'])) or 'as a whole'}: {first['msg']}"
    raise typer.BadParameter(detail, param_hint="--policy")


def _shape(directory: Path) -> ModelShape:
    # links may lead anywhere: the files belong to the person who runs this command
    return read_shape(directory.resolve(), root=Path(directory.resolve().anchor))


def _choice(text: str) -> str | MeasurementChoice:
    if not text.startswith("{"):
        return text
    try:
        return MeasurementChoice.model_validate_json(text)
    except ValidationError:
        raise typer.BadParameter('it must be JSON with a "name", then parameters', param_hint="--measure") from None


def _files(sets: FileRecords) -> list[tuple[str, Path]]:
    """Returns the files with the options that named them."""
    files = [("--forget", sets.forget), *(("--retain", file) for file in sets.retain), ("--unseen", sets.unseen)]
    files += [("--general", sets.only_general), ("--probes", sets.probes), ("--protected", sets.protected)]
    return [(option, file) for option, file in files if file is not None]


def _measure(spec: MeasureSpec) -> MeasureResult:
    """Runs the child, shows its phases and returns its result. Ends the command with code 1 where it fails."""
    result = MeasureResult()
    try:
        with progress_bar(err) as progress:
            task = None
            for event in child_events(spec):
                if isinstance(event, PhaseStarted):
                    if task is not None:
                        progress.update(task, completed=1)
                    phase = PHASES.get(event.phase, event.phase)
                    task = progress.add_task(phase, total=1)
                    if not err.is_terminal:  # without a bar, a line shows the phase
                        err.print(f"  {phase}")
                elif isinstance(event, Measured):
                    result.measurements[event.moment] = event.measurements
                elif isinstance(event, Judged):
                    result.judgement = event.judgement
                elif isinstance(event, Warned):
                    progress.console.print(f"  [yellow]warning:[/yellow] {event.message}", soft_wrap=True)
                elif isinstance(event, CostReported):
                    result.cost = event
            if task is not None:
                progress.update(task, completed=1)
    except ChildFailed as failure:
        err.print(f"[red]not measured:[/red] {failure}", soft_wrap=True)
        raise typer.Exit(1) from None
    return result


def _report(spec: MeasureSpec, result: MeasureResult, preset_values: dict[str, float] | None) -> dict[str, Any]:
    """Returns the report of a measurement: model, files and settings, then figures, without any record's text."""
    files = _files(spec.records) if isinstance(spec.records, FileRecords) else []
    return {
        "model": spec.model,
        "measure": [choice if isinstance(choice, str) else choice.model_dump(mode="json") for choice in spec.measure],
        "dtype": spec.dtype,
        "training": spec.training.model_dump(
            mode="json", include={"max_length", "chat", "seed", "micro_batch_tokens", "master_weights"}
        ),
        "data": [{"name": option.removeprefix("--"), "sha256": _digest(file)} for option, file in files],
        "measurements": _json(result.measurements["after"]),
        "before": _json(result.measurements.get("before")),
        "retrained": _json(result.measurements.get("retrained")),
        "judgement": _json(result.judgement),
        "table": preset_values,
        "cost": _json(result.cost),
    }


def _json(model: BaseModel | None) -> dict[str, Any] | None:
    return None if model is None else model.model_dump(mode="json", exclude={"kind"})


def _digest(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _write(file: Path, report: dict[str, Any]) -> None:
    """Writes the report, whole or not at all. Ends the command with code 1 where it cannot be written."""
    partial = file.with_name(f".{file.name}.partial")
    try:
        partial.write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n")
        os.replace(partial, file)
    except OSError as error:
        err.print(f"{file} could not be written ({type(error).__name__}): choose another file with --json")
        raise typer.Exit(1) from None
