"""Expected seconds of a job beside measured seconds, where no job on its model has run yet.

They are estimated from the machine's throughput, and from jobs on models of other sizes.

    python -m benchmarks.duration [--gpus 1] [--out docs/benchmarks.md]

Runs real child processes on models with random weights: for each size one job that unlearns, and one dry run. They run
on the CPU, or with `--gpus 1` on the GPU, with larger models and a table of their own.
"""

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.generated_page import replace_section
from benchmarks.machine import current_machine
from benchmarks.preflight import REPOSITORY, Case, measure_cost, one_thread_environment, why_no_gpu, write_job
from benchmarks.random_models import SHAPES
from core.evaluation.measurements import resolve_measurements
from core.evaluation.policy import preview
from core.preflight import duration, measuring_cost
from core.preflight.measure_workload import MeasureWorkload
from core.preflight.workload import Workload
from core.schema.job_spec import CommonSpec, PreviewSpec
from core.schema.throughput import Throughput

MARK = "duration"
MODELS = {0: ("4M, 2k", "30M, 2k", "53M, 32k"), 1: ("30M, 2k", "140M, 32k", "1.2B, 32k")}
"""Models by the number of GPUs."""
KINDS = ("unlearning", "dry run")


@dataclass(frozen=True)
class TimedJob:
    """A job as preflight sees it, and the seconds that it took."""

    model: str
    kind: str
    work: Workload
    job: duration.FinishedJob

    @property
    def seconds(self) -> float:
        return sum(self.job.seconds.values())


def run_timed_job(model: str, kind: str, gpus: int) -> TimedJob:
    """Runs one job that unlearns 16 records, or a dry run on 5."""
    case = Case(SHAPES[model], "ascent_descent", records=16 if kind == "unlearning" else 5, retain_records=40, words=60)
    with TemporaryDirectory() as folder:
        spec: CommonSpec
        work: Workload
        spec, work = write_job(case, Path(folder), gpus)
        if kind == "dry run":
            spec = PreviewSpec.from_spec(spec, measure=preview.measurement_choices())
            work = MeasureWorkload(work.shape, work.training, work.sets, gpus=work.gpus, bfloat16=work.bfloat16)
        work = replace(work, measurements=tuple(resolve_measurements(spec.measure)))
        cost = measure_cost(spec, gpus)
    job = duration.FinishedJob(
        model=model,
        shape=work.shape,
        tokens=cost.tokens,
        seconds=cost.seconds,
        flops=cost.flops,
        passed=cost.passed,
        expected_tokens=work.trained_tokens,
        expected_measured=measuring_cost.total_measured_tokens(work),
    )
    return TimedJob(model, kind, work, job)


def measure_throughput(gpus: int) -> Throughput:
    """Measures as a worker does when it starts, with one thread as the jobs have."""
    command = [sys.executable, "-m", "core.pipeline.throughput"]
    environment = one_thread_environment(gpus)
    process = subprocess.run(  # noqa: S603 - our own program
        command, input="measure\n", capture_output=True, text=True, check=True, env=environment, cwd=REPOSITORY
    )
    return Throughput.model_validate_json(process.stdout.splitlines()[-1])


def table(jobs: Sequence[TimedJob], speed: duration.Speed | None) -> str:
    """Returns Markdown: a row for each job, with its seconds as estimated from `speed`, and from the jobs on each model
    alone."""
    models = list(dict.fromkeys(job.model for job in jobs))
    columns = ["by throughput", *(f"by {model}" for model in models)]
    lines = [["job", "took", *columns], ["---", "---:", *("---:" for _ in columns)]]
    for job in jobs:
        estimates = [duration.estimate_seconds(job.work, "another", [], measured=speed)]
        for model in models:
            finished = [replace(other.job, model="") for other in jobs if other.model == model]
            estimates.append(duration.estimate_seconds(job.work, "another", finished))
        cells = []
        for expected in estimates:
            cells.append("" if expected is None else f"{expected:.0f} s ({expected / job.seconds:.2f})")
        lines.append([f"{job.model}, {job.kind}", f"{job.seconds:.0f} s", *cells])
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.duration")
    parser.add_argument("--gpus", type=int, choices=sorted(MODELS), default=0)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    if arguments.gpus and (reason := why_no_gpu()):
        parser.error(reason)
    throughput = measure_throughput(arguments.gpus)
    print(throughput, file=sys.stderr, flush=True)
    speed = duration.Speed.from_workers([throughput], gpus=arguments.gpus)
    jobs = []
    for model in MODELS[arguments.gpus]:
        for kind in KINDS:
            timed = run_timed_job(model, kind, arguments.gpus)
            jobs.append(timed)
            job = timed.job
            print(model, kind, job.seconds, job.flops, job.passed, job.expected_measured, file=sys.stderr, flush=True)
    machine = current_machine().description() if arguments.gpus else f"{os.cpu_count()} cores, one thread"
    command = "python -m benchmarks.duration" + (" --gpus 1" if arguments.gpus else "")
    text = f"Made by `{command}`: {machine}.\n\n{table(jobs, speed)}"
    if arguments.out is None:
        print(text)
    else:
        replace_section(arguments.out, f"{MARK}-cuda" if arguments.gpus else MARK, text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
