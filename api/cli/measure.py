"""`unlearn measure`: what a model in a directory scores on files of records, without the service."""

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
from api.cli.policy_text import judgement_table
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
    "measuring_before": "measuring what it stands beside",
    "measuring_after": "measuring",
    "attacking": "attacking",
}
Records = Annotated[Path | None, typer.Option(exists=True, dir_okay=False)]
Dtype = Literal["auto", "float32", "bfloat16", "float16"]


def measure(
    model: Annotated[Path, typer.Argument(exists=True, file_okay=False, help="a model directory, or an adapter's")],
    forget: Annotated[Path | None, typer.Option(exists=True, dir_okay=False, help="what it must forget")] = None,
    retain: Annotated[list[Path] | None, typer.Option(exists=True, dir_okay=False, help="may be repeated")] = None,
    unseen: Records = None,
    general: Records = None,
    probes: Annotated[Path | None, typer.Option(exists=True, dir_okay=False, help="ask about what must go")] = None,
    protected: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="ask about what must stay")
    ] = None,
    retrained_model: Annotated[
        Path | None,
        typer.Option(
            "--retrained-model",
            "--reference-model",
            exists=True,
            file_okay=False,
            help="a model retrained without the forget set",
        ),
    ] = None,
    before: Annotated[
        Path | None,
        typer.Option(exists=True, file_okay=False, help="what it was made from; an adapter's base"),
    ] = None,
    policy: Annotated[
        str | None, typer.Option(help="'default', or a JSON file: what the model is held to; with --before")
    ] = None,
    measures: Annotated[
        list[str] | None,
        typer.Option(
            "--measure", help="a measurement, a group, or JSON with its parameters; see 'unlearn measurements'"
        ),
    ] = None,
    preset: Annotated[
        Preset | None, typer.Option(help="measure what this benchmark's table holds, and show it under its own names")
    ] = None,
    max_length: Annotated[int | None, typer.Option(min=2, help="tokens; longer records are chunked")] = None,
    chat: Annotated[
        Literal["auto", "raw", "template"] | None, typer.Option(help="how messages become text; default: auto")
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, max=(1 << 31) - 1)] = None,
    dtype: Annotated[Dtype, typer.Option(help="what the model was registered with")] = "auto",
    master_weights: Annotated[MasterWeights | None, typer.Option(help="what the weights are held in")] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads; another number rounds otherwise")] = None,
    json_out: Annotated[Path | None, typer.Option("--json", dir_okay=False, help="write all figures there")] = None,
    cache: Annotated[Path | None, typer.Option(file_okay=False, help="keep what was measured there")] = None,
    benchmark_tasks: Annotated[
        Path | None, typer.Option(exists=True, file_okay=False, help="definitions of tasks for 'benchmarks'")
    ] = None,
    benchmark_code: Annotated[
        bool, typer.Option("--benchmark-code", help="tasks may run code that the model writes")
    ] = False,
) -> None:
    """Measure a model as a job measures it: on the same halves of the files, with the same code and defaults."""
    sets = FileRecords(
        forget=forget,
        retain=retain or [],
        unseen=unseen,
        only_general=general,
        probes=probes,
        protected=protected,
    )
    choices = [_choice(one) for one in measures or ([] if preset else ["standard"])]
    choices += PRESETS[preset].measure if preset else ()
    base = _base(model, before)
    shape = _checked(base or model, sets, choices, {"--before": before, "--retrained-model": retrained_model})
    if max_length is not None and shape.within_context(max_length) < max_length:
        raise typer.BadParameter(f"the model's context is {shape.context} tokens", param_hint="--max-length")
    training = default_eval_settings(shape, max_length=max_length, chat=chat, seed=seed, master_weights=master_weights)
    held_to = _policy(policy)
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
            policy=held_to,
            cache=cache,
            benchmark_tasks=None if benchmark_tasks is None else benchmark_tasks.resolve(),
            benchmark_code=benchmark_code,
            threads=threads,
        )
        heard = _measured(spec)
    for moment, title in (("before", "before"), ("retrained", "the retrained model"), ("after", "the model")):
        if figures := heard.found.get(moment):
            if len(heard.found) > 1:
                out.print(f"[bold]{title}[/bold]")
            print_figures(figures, out)
    named = preset_table(preset, heard.found["after"]) if preset else None
    if named is not None:
        print_table(f"as {preset} has it", named, out)
    if heard.judgement is not None:
        why = f" ({heard.judgement.reason.replace('_', ' ')})" if heard.judgement.reason else ""
        out.print(judgement_table(heard.judgement, width=out.width))
        out.print(f"policy {heard.judgement.policy}: [bold]{heard.judgement.verdict.replace('_', ' ')}[/bold]{why}")
    if heard.cost is not None:
        out.print(cost_line(heard.cost), soft_wrap=True)
    if json_out is not None:
        _write(json_out, _report(spec, heard, named))


@dataclass
class MeasureResult:
    """What the child said."""

    found: dict[str, Measurements] = field(default_factory=dict)
    """By the moment."""
    judgement: Judgement | None = None
    cost: CostReported | None = None


def _checked(
    model: Path,
    sets: FileRecords,
    choices: list[str | MeasurementChoice],
    others: Mapping[str, Path | None],
) -> ModelShape:
    """The model's shape. Ends the command with code 2 where anything is wrong that shows before measuring."""
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
        for option, other in others.items():
            if other is not None and _shape(other).vocabulary != shape.vocabulary:
                raise typer.BadParameter("it has another vocabulary than the model", param_hint=option)
    except (UnusableModel, UnknownMeasurement) as error:
        raise typer.BadParameter(str(error)) from None
    except ValidationError as error:
        wrong = error.errors(include_input=False, include_url=False, include_context=False)[0]
        detail = f"{error.title}, {'.'.join(map(str, wrong['loc']))}: {wrong['msg']}"
        raise typer.BadParameter(detail, param_hint="--measure") from None
    return shape


def _base(model: Path, before: Path | None) -> Path | None:
    """The model that an adapter is loaded on; None: the directory holds a model."""
    if not (model / ADAPTER_CONFIG).is_file() or (model / "config.json").is_file():
        return None
    if before is None:
        raise typer.BadParameter("it holds an adapter alone: name the model that it was trained on with --before")
    return before.resolve()


def _policy(named: str | None) -> Policy | None:
    if named is None or named == DEFAULT_POLICY.name:
        return DEFAULT_POLICY if named else None
    try:
        return Policy.model_validate_json(Path(named).read_bytes())
    except OSError as error:
        detail = f"neither '{DEFAULT_POLICY.name}' nor a file that can be read ({type(error).__name__})"
    except ValidationError as error:
        wrong = error.errors(include_input=False, include_url=False, include_context=False)[0]
        detail = f"{'.'.join(map(str, wrong['loc'])) or 'as a whole'}: {wrong['msg']}"
    raise typer.BadParameter(detail, param_hint="--policy")


def _shape(directory: Path) -> ModelShape:
    # wherever its links lead: the files are those of whoever runs this
    return read_shape(directory.resolve(), root=Path(directory.resolve().anchor))


def _choice(named: str) -> str | MeasurementChoice:
    if not named.startswith("{"):
        return named
    try:
        return MeasurementChoice.model_validate_json(named)
    except ValidationError:
        raise typer.BadParameter('JSON with a "name", then parameters', param_hint="--measure") from None


def _files(sets: FileRecords) -> list[tuple[str, Path]]:
    named = [("--forget", sets.forget), *(("--retain", one) for one in sets.retain), ("--unseen", sets.unseen)]
    named += [("--general", sets.only_general), ("--probes", sets.probes), ("--protected", sets.protected)]
    return [(option, file) for option, file in named if file is not None]


def _measured(spec: MeasureSpec) -> MeasureResult:
    """What the child found, with its phases shown as they go by. Ends the command with code 1 where it fails."""
    heard = MeasureResult()
    try:
        with progress_bar(err) as progress:
            task = None
            for event in child_events(spec):
                if isinstance(event, PhaseStarted):
                    if task is not None:
                        progress.update(task, completed=1)
                    phase = PHASES.get(event.phase, event.phase)
                    task = progress.add_task(phase, total=1)
                    if not err.is_terminal:  # where no bar is drawn, a line says where it is
                        err.print(f"  {phase}")
                elif isinstance(event, Measured):
                    heard.found[event.moment] = event.measurements
                elif isinstance(event, Judged):
                    heard.judgement = event.judgement
                elif isinstance(event, Warned):
                    progress.console.print(f"  [yellow]warning:[/yellow] {event.message}", soft_wrap=True)
                elif isinstance(event, CostReported):
                    heard.cost = event
            if task is not None:
                progress.update(task, completed=1)
    except ChildFailed as failure:
        err.print(f"[red]not measured:[/red] {failure}", soft_wrap=True)
        raise typer.Exit(1) from None
    return heard


def _report(spec: MeasureSpec, heard: MeasureResult, named: dict[str, float] | None) -> dict[str, Any]:
    """What was measured, of what and how: figures and digests, no record's text."""
    files = _files(spec.records) if isinstance(spec.records, FileRecords) else []
    return {
        "model": spec.model,
        "measure": [one if isinstance(one, str) else one.model_dump(mode="json") for one in spec.measure],
        "dtype": spec.dtype,
        "training": spec.training.model_dump(
            mode="json", include={"max_length", "chat", "seed", "micro_batch_tokens", "master_weights"}
        ),
        "data": [{"name": option.removeprefix("--"), "sha256": _digest(file)} for option, file in files],
        "measurements": _json(heard.found["after"]),
        "before": _json(heard.found.get("before")),
        "retrained": _json(heard.found.get("retrained")),
        "judgement": _json(heard.judgement),
        "table": named,
        "cost": _json(heard.cost),
    }


def _json(found: BaseModel | None) -> dict[str, Any] | None:
    return None if found is None else found.model_dump(mode="json", exclude={"kind"})


def _digest(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _write(file: Path, report: dict[str, Any]) -> None:
    """Whole or not at all. Ends the command with code 1 where it cannot be written."""
    partial = file.with_name(f".{file.name}.partial")
    try:
        partial.write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n")
        os.replace(partial, file)
    except OSError as error:
        err.print(f"{file} could not be written ({type(error).__name__})")
        raise typer.Exit(1) from None
