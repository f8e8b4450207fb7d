"""Preflight's estimate of peak memory beside the peak of a real job.

    python -m benchmarks.preflight [--gpus 1] [--at-once N] [--out docs/benchmarks.md] [--case NAME ...]

Each case is a real child process (`python -m core.pipeline`) on a model with random weights. It loads, measures,
unlearns, saves, and measures the saved model by every measurement of `standard`; exposure on few records, since it puts
a hundred twins of each record through the model. All cases take a quarter of an hour on two cores. With `--gpus 1` the
cases, and larger ones, run on the GPU. Their table compares the peak of the GPU's allocator with the estimate.
"""

import argparse
import os
import platform
import shlex
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.child import run_child
from benchmarks.generated_page import replace_section
from benchmarks.machine import current_machine
from benchmarks.random_models import SHAPES, Shape, write_model, write_records
from core.preflight.estimate import estimate
from core.preflight.memory import Memory
from core.preflight.processor import has_fast_bfloat16
from core.preflight.unlearn_workload import UnlearnWorkload
from core.preflight.workload import SetSize
from core.schema.evaluation import MeasurementChoice
from core.schema.events import CostReported, Failed
from core.schema.job_spec import ChildMethod, CommonSpec, FileRecords, UnlearnSpec
from core.schema.model_shape import read_shape
from core.schema.training import TrainingRequest
from core.unlearning.objectives import fill_training, resolve

REPOSITORY = Path(__file__).parent.parent
MARK = "preflight"
UPPER = 1.4
MEASURE = ["standard", MeasurementChoice.model_validate({"name": "exposure", "records": 4})]


@dataclass(frozen=True)
class Case:
    """One job. `words`: words of each record; a word is two to three tokens."""

    shape: Shape
    method: str
    records: int = 8
    retain_records: int = 16
    words: int = 30
    training: dict[str, Any] = field(default_factory=dict)


CASES: dict[str, Case] = {
    "4M, 2k, ascent_descent": Case(SHAPES["4M, 2k"], "ascent_descent"),
    "4M, 2k, calibrated, the demo's sizes and updates": Case(
        SHAPES["4M, 2k"], "calibrated", records=200, retain_records=400, words=20, training={"epochs": 18}
    ),
    "4M, 2k, long records": Case(SHAPES["4M, 2k"], "gradient_ascent", records=24, words=400),
    "19M, 32k, ascent_kl": Case(SHAPES["19M, 32k"], "ascent_kl", words=60),
    "30M, 2k, ascent_descent": Case(SHAPES["30M, 2k"], "ascent_descent", words=60),
    "30M, 2k, many updates": Case(
        SHAPES["30M, 2k"], "ascent_descent", records=64, retain_records=64, words=20, training={"records_per_step": 8}
    ),
    "30M, 2k, float32": Case(SHAPES["30M, 2k"], "gradient_ascent", words=60, training={"precision": "float32"}),
    "30M, 2k, adapters": Case(SHAPES["30M, 2k"], "gradient_ascent", words=60, training={"lora": {"rank": 8}}),
    "30M, 2k, recomputed": Case(SHAPES["30M, 2k"], "gradient_ascent", words=60, training={"checkpointing": True}),
    "30M, 2k, bfloat16 weights": Case(
        SHAPES["30M, 2k"], "gradient_ascent", words=60, training={"master_weights": "bfloat16"}
    ),
    "53M, 32k, ascent_kl": Case(SHAPES["53M, 32k"], "ascent_kl"),
    "120M, 2k, ascent_descent": Case(SHAPES["120M, 2k"], "ascent_descent", words=20),
    "140M, 32k, ascent_kl": Case(SHAPES["140M, 32k"], "ascent_kl", words=20),
}

HUNDRED_MILLION_CASES: dict[str, Case] = {
    "135M, 49k, ascent_descent": Case(
        SHAPES["135M, 49k"], "ascent_descent", records=40, retain_records=40, words=42, training={"epochs": 3}
    ),
    "135M, 49k, calibrated, updates of two batches": Case(
        SHAPES["135M, 49k"], "calibrated", records=40, retain_records=40, words=42, training={"epochs": 4}
    ),
}
"""Cases on the CPU whose models have the sizes of SmolLM2. They take half an hour on one core."""

LARGE_CASES: dict[str, Case] = {
    "1.2B, 32k, ascent_descent": Case(SHAPES["1.2B, 32k"], "ascent_descent", words=60),
    "1.2B, 32k, ascent_kl, many updates": Case(
        SHAPES["1.2B, 32k"], "ascent_kl", records=32, retain_records=64, words=60, training={"records_per_step": 16}
    ),
    "1.2B, 32k, long records, recomputed": Case(
        SHAPES["1.2B, 32k"], "gradient_ascent", words=800, training={"checkpointing": True}
    ),
    "1.2B, 32k, adapters, bfloat16 weights": Case(
        SHAPES["1.2B, 32k"], "npo", words=60, training={"lora": {"rank": 16}, "master_weights": "bfloat16"}
    ),
    "1.2B, 32k, 8-bit moments": Case(
        SHAPES["1.2B, 32k"], "gradient_ascent", words=60, training={"optimizer": "adamw8bit"}
    ),
}
"""Cases that run on a GPU only."""


@dataclass(frozen=True)
class PeakComparison:
    """A case's expected peak beside its measured peak, on the device that computes; bytes.

    `host`: expected and measured bytes of host memory, where a GPU computes.
    """

    name: str
    parameters: int
    phase: str
    expected: int
    measured: int
    host: tuple[int, int] | None = None

    @property
    def ratio(self) -> float:
        return self.expected / self.measured


def write_job(case: Case, folder: Path, gpus: int = 0) -> tuple[UnlearnSpec, UnlearnWorkload]:
    """Writes the case's model and records into `folder`; returns the child's job spec and preflight's workload."""
    directory = write_model(case.shape, folder / "model")
    shape = read_shape(directory.resolve(), root=directory.resolve())
    request = TrainingRequest.model_validate({"epochs": 2, "learning_rate": 1e-4, "snapshot_every": 0} | case.training)
    training = fill_training(request, case.method, parameters=shape.parameters, forget_records=case.records)
    counts = {"forget": case.records, "retain": case.retain_records, "unseen": case.retain_records}
    files = {
        name: write_records(folder / f"{name}.jsonl", records=count, words=case.words, seed=seed)
        for seed, (name, count) in enumerate(counts.items())
    }
    method = resolve(case.method, {})
    used = {name for name in files if name == "forget" or name in method.needs()}
    sets = {
        name: SetSize.from_file(records=counts[name], size=files[name].stat().st_size, shape=shape) for name in used
    }
    spec = UnlearnSpec(
        job="preflight",
        model="random",
        directory=directory,
        method=ChildMethod(name=case.method, parameters={}),
        training=training,
        records=FileRecords(
            forget=files["forget"],
            retain=[files["retain"]] if "retain" in used else [],
            unseen=files["unseen"] if "unseen" in used else None,
        ),
        output=folder / "checkpoint",
        threads=1,
        measure=MEASURE,
    )
    return spec, UnlearnWorkload(shape, training, sets, method=method, gpus=gpus, bfloat16=has_fast_bfloat16())


def one_thread_environment(gpus: int = 0) -> dict[str, str]:
    """Returns the environment of a child process with one thread, and without GPUs where it is to use none."""
    path = os.pathsep.join(filter(None, (str(REPOSITORY), os.environ.get("PYTHONPATH"))))
    hidden = {} if gpus else {"CUDA_VISIBLE_DEVICES": ""}
    return {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", **hidden}


def measure_cost(spec: CommonSpec, gpus: int = 0) -> CostReported:
    """Runs the job in a child process and returns the cost that it reports. Raises RuntimeError if the job fails."""
    events = run_child(spec, one_thread_environment(gpus), cwd=REPOSITORY)
    costs = [event for event in events if isinstance(event, CostReported)]
    if not costs:
        failures = [event.error.message for event in events if isinstance(event, Failed)]
        raise RuntimeError(f"the job failed: {failures or 'it gave no reason'}")
    return costs[0]


def compare_peaks(name: str, case: Case, gpus: int = 0) -> PeakComparison:
    """Runs the case."""
    with TemporaryDirectory() as folder:
        spec, work = write_job(case, Path(folder), gpus)
        expected = estimate(work)
        phase = Memory(work).peak("device" if gpus else "host").name
        cost = measure_cost(spec, gpus)
    host = expected.peak_host_bytes, cost.peak_host_bytes
    if not gpus:
        return PeakComparison(name, expected.parameters, phase, *host)
    device = expected.peak_device_bytes or 0, cost.peak_device_bytes or 1
    return PeakComparison(name, expected.parameters, phase, *device, host=host)


def why_no_gpu() -> str:
    """Returns why this machine has no GPU to measure on; an empty text if it has one."""
    reason = current_machine().why_no_cuda
    return f"a CUDA device is needed ({reason})" if reason else ""


def host_table(comparisons: Sequence[PeakComparison]) -> str:
    """Returns Markdown: a row for each case that ran on the CPU."""
    command = shlex.join(["python", "-m", "benchmarks.preflight", *sys.argv[1:]])
    ratios = [comparison.ratio for comparison in comparisons]
    lines = [
        f"Made {datetime.now(UTC):%Y-%m-%d} by `{command}`: {platform.machine()},"
        f" {os.cpu_count()} cores, Python {platform.python_version()}, torch {version('torch')}; bfloat16"
        f" {'is' if has_fast_bfloat16() else 'is not'} native. Expected over measured: {min(ratios):.2f} to"
        f" {max(ratios):.2f}.",
        "",
        "| job | weights | highest while | expected MB | measured MB | ratio |",
        "| --- | ---: | --- | ---: | ---: | ---: |",
    ]
    for comparison in comparisons:
        lines.append(f"| {_case_cells(comparison)} | {_memory_cells(comparison)} |")
    return "\n".join(lines)


def device_table(comparisons: Sequence[PeakComparison]) -> str:
    """Returns Markdown: a row for each case that ran on the GPU, with the GPU's memory and the host's."""
    ratios = [comparison.ratio for comparison in comparisons]
    command = shlex.join(["python", "-m", "benchmarks.preflight", *sys.argv[1:]])
    lines = [
        f"Made {datetime.now(UTC):%Y-%m-%d} by `{command}`: {current_machine().description()}. Expected over measured,"
        f" of the GPU: {min(ratios):.2f} to {max(ratios):.2f}.",
        "",
        "| job | weights | highest while | expected GPU MB | measured | ratio | expected host MB | measured | ratio |",
        "| --- | ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for comparison in comparisons:
        host = PeakComparison(comparison.name, comparison.parameters, "", *(comparison.host or (0, 1)))
        lines.append(f"| {_case_cells(comparison)} | {_memory_cells(comparison)} | {_memory_cells(host)} |")
    return "\n".join(lines)


def _case_cells(comparison: PeakComparison) -> str:
    return f"{comparison.name} | {comparison.parameters / 1e6:.1f} M | {comparison.phase}"


def _memory_cells(comparison: PeakComparison) -> str:
    return f"{comparison.expected >> 20:,} | {comparison.measured >> 20:,} | {comparison.ratio:.2f}"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.preflight")
    parser.add_argument("--out", type=Path, help="the Markdown file whose table is replaced")
    all_cases = CASES | HUNDRED_MILLION_CASES | LARGE_CASES
    parser.add_argument("--case", action="append", choices=sorted(all_cases), help="may be repeated; default: all")
    parser.add_argument("--gpus", type=int, choices=[0, 1], default=0)
    parser.add_argument(
        "--hundred-million", action="store_true", help="the cases of 135 million weights, in a table of their own"
    )
    parser.add_argument("--at-once", type=int, default=1, help="cases that run at the same time, a process each")
    arguments = parser.parse_args()
    if arguments.gpus and (reason := why_no_gpu()):
        parser.error(reason)
    cases = HUNDRED_MILLION_CASES if arguments.hundred_million else all_cases if arguments.gpus else CASES
    names = arguments.case or list(cases)
    comparisons = []
    with ThreadPoolExecutor(arguments.at_once) as pool:
        for comparison in pool.map(lambda name: compare_peaks(name, all_cases[name], arguments.gpus), names):
            comparisons.append(comparison)
            expected, measured = comparison.expected >> 20, comparison.measured >> 20
            print(f"{comparison.name}: {expected} / {measured} MB = {comparison.ratio:.2f}", flush=True)
    text = device_table(comparisons) if arguments.gpus else host_table(comparisons)
    print(text)
    if arguments.out is not None:
        table = "-cuda" if arguments.gpus else "-135M" if arguments.hundred_million else ""
        replace_section(arguments.out, f"{MARK}{table}", text)
    return 0 if all(1 <= comparison.ratio <= UPPER for comparison in comparisons) else 1


if __name__ == "__main__":
    sys.exit(main())
