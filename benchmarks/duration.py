"""Seconds that a job was expected to take, by jobs on models of other sizes, beside those that it took.

    python -m benchmarks.duration [--out docs/benchmarks.md]

Real child processes on models with random weights: of each size one job that unlearns, and one dry run. CPU only.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.generated_page import replace_section
from benchmarks.preflight import Case, cost_of, job
from benchmarks.random_models import SHAPES
from core.evaluation.measurements import resolve_measurements
from core.evaluation.policy import preview
from core.preflight import duration, flops
from core.preflight.workload import Workload
from core.schema.job_spec import CommonSpec, PreviewSpec

MARK = "duration"
MODELS = ("4M, 2k", "30M, 2k", "53M, 32k")
KINDS = ("unlearning", "dry run")


@dataclass(frozen=True)
class Taken:
    """A job as preflight sees it, and what it took."""

    model: str
    kind: str
    work: Workload
    run: duration.FinishedJob

    @property
    def seconds(self) -> float:
        return sum(self.run.seconds.values())


def take(model: str, kind: str) -> Taken:
    """Runs one job: of 16 records to forget, or a dry run of 5."""
    case = Case(SHAPES[model], "ascent_descent", records=16 if kind == "unlearning" else 5, others=40, words=60)
    with TemporaryDirectory() as folder:
        spec: CommonSpec
        spec, work = job(case, Path(folder))
        if kind == "dry run":
            spec = PreviewSpec.from_spec(spec, measure=preview.measurement_choices())
            work = replace(work, method=None)
        work = replace(work, measurements=tuple(resolve_measurements(spec.measure)))
        cost = cost_of(spec)
    run = duration.FinishedJob(
        model=model,
        shape=work.shape,
        tokens=cost.tokens,
        seconds=cost.seconds,
        flops=cost.flops,
        passed=cost.passed,
        expected_tokens=work.tokens,
        expected_measured=flops.total_measured_tokens(work),
    )
    return Taken(model, kind, work, run)


def table(found: Sequence[Taken]) -> str:
    """Markdown: a row for each job, and what it was expected to take by the jobs on each model alone."""
    lines = [["job", "took", *(f"by {model}" for model in MODELS)], ["---", "---:", *("---:" for _ in MODELS)]]
    for one in found:
        cells = []
        for model in MODELS:
            runs = [other.run for other in found if other.model == model]
            expected = duration.estimate_seconds(one.work, "another", [replace(run, model="") for run in runs])
            cells.append("" if expected is None else f"{expected:.0f} s ({expected / one.seconds:.2f})")
        lines.append([f"{one.model}, {one.kind}", f"{one.seconds:.0f} s", *cells])
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def main() -> int:
    arguments = argparse.ArgumentParser(prog="python -m benchmarks.duration")
    arguments.add_argument("--out", type=Path)
    given = arguments.parse_args()
    found = []
    for model in MODELS:
        for kind in KINDS:
            found.append(take(model, kind))
            one = found[-1].run
            print(model, kind, one.seconds, one.flops, one.passed, one.expected_measured, file=sys.stderr, flush=True)
    text = f"Made by `python -m benchmarks.duration`: {os.cpu_count()} cores, one thread.\n\n{table(found)}"
    if given.out is None:
        print(text)
    else:
        replace_section(given.out, MARK, text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
