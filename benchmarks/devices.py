"""The same jobs on the CPU and on the GPU: their figures, time and memory.

    python -m benchmarks.devices [--job NAME ...] [--device cpu|cuda ...] [--at-once N] [--out docs/benchmarks.md]

Each job is a process of its own, on a model that knows the demo's people by heart. Each device has its own table.
Without a GPU the program says so and measures the CPU only. With `--at-once` above 1, jobs slow each other down and
their seconds include that.
"""

import argparse
import os
import shlex
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar

from benchmarks.child import run_child
from benchmarks.generated_page import aligned_table, replace_section
from benchmarks.machine import Machine, cpu_of_machine, current_machine
from benchmarks.memorised import TrainedModels, prepare_models
from benchmarks.methods_page import FigureReader, attack_auc, curve_end, set_figure, variant_figure
from core.evaluation.measurements import resolve_measurements
from core.evaluation.policy import preview
from core.preflight.estimate import estimate
from core.preflight.measure_workload import MeasureWorkload
from core.preflight.processor import has_fast_bfloat16
from core.preflight.unlearn_workload import UnlearnWorkload
from core.preflight.workload import SetSize, Workload
from core.schema.evaluation import MeasurementChoice, Measurements, Moment
from core.schema.events import ChildEvent, CostReported, Done, Failed, Measured
from core.schema.job_spec import ChildMethod, CommonSpec, FileRecords, PreviewSpec, UnlearnSpec
from core.schema.model_shape import read_shape
from core.schema.preflight import Estimate
from core.unlearning.objectives import resolve

MARK = "devices"
MEASURE: list[str | MeasurementChoice] = [
    "likelihood",
    "membership",
    "quantized",
    "gradnorm",
    MeasurementChoice.model_validate({"name": "exposure", "records": 8}),
    MeasurementChoice.model_validate({"name": "relearned", "records": 60, "steps": 10}),
]
"""One measurement for each way to examine a model: likelihoods, gradients, quantized copies, twins, fine-tuning."""
FIGURES: dict[str, FigureReader] = {
    "forget ppl": set_figure("forget", "perplexity"),
    "retain ppl": set_figure("retain", "perplexity"),
    "unseen ppl": set_figure("unseen", "perplexity"),
    "extraction": set_figure("forget", "extraction_strength"),
    "AUC of loss": attack_auc("loss"),
    "AUC of gradnorm": attack_auc("gradnorm"),
    "exposure": set_figure("forget", "exposure"),
    "int8 ppl": variant_figure("int8", "forget", "perplexity"),
    "int4 ppl": variant_figure("int4", "forget", "perplexity"),
    "relearned ppl": curve_end("relearned_forget"),
}


@dataclass(frozen=True)
class Unlearning:
    """A job that unlearns by a method. `training`: settings that replace the defaults."""

    method: str
    training: dict[str, Any] = field(default_factory=dict)
    moment: ClassVar[Moment] = "after"
    """When the compared figures are measured."""

    def measure(self) -> list[str | MeasurementChoice]:
        return MEASURE

    def spec(self, common: CommonSpec, output: Path) -> UnlearnSpec:
        """Returns the job spec, with the method and the checkpoint's folder."""
        return UnlearnSpec.from_spec(common, method=ChildMethod(name=self.method, parameters={}), output=output)


@dataclass(frozen=True)
class DryRun:
    """A dry run, which trains nothing. Its spec has the training of a method."""

    method: str = "calibrated"
    training: dict[str, Any] = field(default_factory=dict)
    moment: ClassVar[Moment] = "before"

    def measure(self) -> list[str | MeasurementChoice]:
        return preview.measurement_choices()

    def spec(self, common: CommonSpec, output: Path) -> PreviewSpec:
        """Returns the job spec; `output` stays empty."""
        return PreviewSpec.from_spec(common)


JOBS: dict[str, Unlearning | DryRun] = {
    "calibrated": Unlearning("calibrated"),
    "calibrated, float32": Unlearning("calibrated", {"precision": "float32"}),
    "calibrated, bfloat16": Unlearning("calibrated", {"precision": "bfloat16"}),
    "calibrated, adapters": Unlearning("calibrated", {"lora": {"rank": 16}}),
    "npo": Unlearning("npo"),
    "npo, adamw8bit": Unlearning("npo", {"optimizer": "adamw8bit"}),
    "npo, compiled": Unlearning("npo", {"compile": True}),
    "ascent_descent": Unlearning("ascent_descent"),
    "ascent_descent, recomputed": Unlearning("ascent_descent", {"checkpointing": True}),
    "rmu": Unlearning("rmu"),
    "dry run": DryRun(),
}


@dataclass(frozen=True)
class JobResult:
    """Figures and cost of a job on a device; `failure`: why the job did not end with `done`, else empty."""

    job: str
    device: str
    figures: Measurements | None
    cost: CostReported | None
    failure: str
    expected: Estimate


def run_job(models: TrainedModels, name: str, device: str, threads: int | None) -> JobResult:
    """Runs one job."""
    job = JOBS[name]
    with tempfile.TemporaryDirectory() as folder:
        spec = _spec(models, job, Path(folder) / "checkpoint", threads)
        events = run_child(spec, _environment(device))
    measurements = {event.moment: event.measurements for event in events if isinstance(event, Measured)}
    cost = next((event for event in events if isinstance(event, CostReported)), None)
    failure = "" if events and isinstance(events[-1], Done) else _failure(events)
    figures = measurements.get(job.moment)
    return JobResult(name, device, figures, cost, failure, estimate_job(models, spec, device))


def estimate_job(models: TrainedModels, spec: CommonSpec, device: str) -> Estimate:
    """Returns preflight's estimate of the job on the device."""
    shape = read_shape(models.model, root=models.folder)
    names = ("forget", "retain", "unseen") if isinstance(spec, UnlearnSpec) else ("forget", "unseen")
    files = {name: models.file(name) for name in names}
    sets = {
        name: SetSize.from_file(records=sum(1 for _ in file.open()), size=file.stat().st_size, shape=shape)
        for name, file in files.items()
    }
    gpus, bfloat16 = int(device == "cuda"), has_fast_bfloat16()
    measurements = tuple(resolve_measurements(spec.measure))
    workload: Workload
    if isinstance(spec, UnlearnSpec):
        method = resolve(spec.method.name, spec.method.parameters)
        workload = UnlearnWorkload(
            shape, spec.training, sets, method=method, gpus=gpus, bfloat16=bfloat16, measurements=measurements
        )
    else:
        workload = MeasureWorkload(shape, spec.training, sets, gpus=gpus, bfloat16=bfloat16, measurements=measurements)
    return estimate(workload)


def _spec(
    models: TrainedModels, job: Unlearning | DryRun, output: Path, threads: int | None
) -> UnlearnSpec | PreviewSpec:
    records = sum(1 for _ in models.file("forget").open())
    training = models.training(job.method, forget_records=records, seed=0)
    training = type(training).model_validate(training.model_dump() | job.training)
    common = CommonSpec(
        job="job-" + "0" * 32,
        model="demo",
        directory=models.model,
        training=training,
        records=FileRecords(forget=models.file("forget"), retain=[models.file("retain")], unseen=models.file("unseen")),
        measure=job.measure(),
        threads=threads,
    )
    return job.spec(common, output)


def _environment(device: str) -> dict[str, str]:
    return {**os.environ, "CUDA_VISIBLE_DEVICES": ""} if device == "cpu" else dict(os.environ)


def _failure(events: Sequence[ChildEvent]) -> str:
    last = events[-1] if events else None
    return f"{last.error.code}: {last.error.message}" if isinstance(last, Failed) else "its process ended early"


def table(results: Sequence[JobResult]) -> str:
    """Returns Markdown: a row for each job of one device, a column for each figure that any job has."""
    columns = {
        name: read
        for name, read in FIGURES.items()
        if any(result.figures and read(result.figures) for result in results)
    }
    lines = [["job", "unlearning s", "measuring s", "in all s", "host MB (expected)", "GPU MB (expected)", *columns]]
    for result in results:
        figures = [_figure_cell(result.figures, read) for read in columns.values()]
        lines.append([result.job, *_cost_cells(result), *figures])
    return aligned_table(lines)


def _figure_cell(measurements: Measurements | None, read: FigureReader) -> str:
    figure = None if measurements is None else read(measurements)
    return "–" if figure is None else f"{figure.value:.4g}"


def _cost_cells(result: JobResult) -> list[str]:
    if result.cost is None:
        return [result.failure.split(":")[0], "–", "–", "–", "–"]
    seconds_of = result.cost.seconds
    measuring = sum(
        seconds for phase, seconds in seconds_of.items() if phase.startswith("measuring") or phase == "attacking"
    )
    unlearning = f"{seconds_of['unlearning']:.1f}" if "unlearning" in seconds_of else "–"
    memory = [
        _memory_cell(result.cost.peak_host_bytes, result.expected.peak_host_bytes),
        _memory_cell(result.cost.peak_device_bytes, result.expected.peak_device_bytes),
    ]
    return [unlearning, f"{measuring:.1f}", f"{sum(seconds_of.values()):.1f}", *memory]


def _memory_cell(peak: int | None, expected: int | None) -> str:
    return "–" if peak is None or expected is None else f"{peak >> 20:,} ({expected >> 20:,})"


def page(results: Sequence[JobResult], machine: Machine, threads: int | None) -> str:
    command = shlex.join(["python", "-m", "benchmarks.devices", *sys.argv[1:]])
    threads_note = f", {threads} threads a job" if threads else ""
    return (
        f"Made {datetime.now(UTC):%Y-%m-%d} by `{command}`: {machine.description()}{threads_note}.\n\n{table(results)}"
    )


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.devices")
    parser.add_argument("--job", choices=sorted(JOBS), action="append", help="default: all")
    parser.add_argument(
        "--device", choices=["cpu", "cuda"], action="append", help="default: the GPU, if any, and the CPU"
    )
    parser.add_argument("--at-once", type=int, default=1, help="jobs that run at the same time")
    parser.add_argument("--threads", type=int, help="threads of a job on the CPU; default: as many as it may use")
    parser.add_argument("--folder", type=Path, default=Path(".unlearn/bench"), help="where the model is kept")
    parser.add_argument("--out", type=Path, help="the Markdown file whose tables are replaced")
    arguments = parser.parse_args()
    machine, devices = current_machine(), arguments.device or ["cuda", "cpu"]
    if machine.device != "cuda" and "cuda" in devices:
        print(f"left out: the GPU ({machine.why_no_cuda})", file=sys.stderr)
        devices = [device for device in devices if device == "cpu"]
    models, failed = prepare_models("demo", 0, arguments.folder, Path()), False
    for device in devices:
        threads = arguments.threads if device == "cpu" else None
        results = []
        with ThreadPoolExecutor(arguments.at_once) as pool:
            futures = [pool.submit(run_job, models, name, device, threads) for name in arguments.job or JOBS]
            for future in futures:
                result = future.result()
                outcome = result.failure or (result.cost and result.cost.seconds)
                print(result.job, result.device, outcome, file=sys.stderr, flush=True)
                results.append(result)
        failed = failed or any(result.failure for result in results)
        text = page(results, machine if device == machine.device else cpu_of_machine(), threads)
        print(text)
        if arguments.out is not None:
            replace_section(arguments.out, f"{MARK}-{device}", text)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
