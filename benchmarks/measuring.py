"""The time of measuring beside the time of unlearning, by the number of records to forget: `unlearn bench measuring`.

    python -m benchmarks.measuring --records 20 --records 500 --method calibrated --out docs/benchmarks.md

A model knows 500 records to forget and 300 to retain by heart. Each job forgets the first records, at the service's
defaults, in a process of its own that uses nothing of earlier jobs.
"""

import argparse
import shlex
import shutil
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.child import run_child
from benchmarks.generated_page import aligned_table, replace_section
from benchmarks.machine import current_machine
from benchmarks.memorised import TrainedModels, prepare_models
from core.schema.events import CostReported, Done, Measured
from core.schema.job_spec import ChildMethod, FileRecords, UnlearnSpec
from core.schema.jobs import MEASURING_PHASES
from core.unlearning.objectives import METHODS

DATA = "demo-500"
MOST_EXPENSIVE = 4


def job_spec(
    models: TrainedModels, method: str, forget: Path, records: int, *, threads: int | None, seed: int
) -> UnlearnSpec:
    """Returns the spec as the service would fill it in. The output is a directory beside the forget set's file."""
    return UnlearnSpec(
        method=ChildMethod(name=method, parameters={}),
        job="job-" + "0" * 32,
        model=DATA,
        directory=models.model,
        training=models.training(method, forget_records=records, seed=seed),
        records=FileRecords(forget=forget, retain=[models.file("retain")], unseen=models.file("unseen")),
        output=forget.parent / "checkpoint",
        threads=threads,
    )


def time_job(models: TrainedModels, method: str, records: int, *, threads: int | None, seed: int) -> list[str]:
    """Runs a job and returns its seconds as a row. Raises RuntimeError if the job fails."""
    with tempfile.TemporaryDirectory() as folder:
        forget = Path(folder) / "forget.jsonl"
        lines = models.file("forget").read_text(encoding="utf-8").splitlines(keepends=True)
        forget.write_text("".join(lines[:records]), encoding="utf-8")
        events = run_child(job_spec(models, method, forget, records, threads=threads, seed=seed))
        shutil.rmtree(forget.parent / "checkpoint", ignore_errors=True)
    if not isinstance(events[-1], Done):
        raise RuntimeError(f"{method} on {records} records ended with {events[-1].kind}")
    cost = next(event for event in events if isinstance(event, CostReported))
    after = next(event.measurements for event in events if isinstance(event, Measured) and event.moment == "after")
    spent = [cost.seconds.get(phase, 0.0) for phase in MEASURING_PHASES]
    unlearning = cost.seconds["unlearning"]
    most_expensive = sorted(after.seconds_of.items(), key=lambda item: -item[1])[:MOST_EXPENSIVE]
    return [
        f"{records} records",
        method,
        f"{unlearning:.1f}",
        *(f"{seconds:.1f}" for seconds in spent),
        f"{sum(spent) / unlearning:.2f}",
        ", ".join(f"{name} {seconds:.1f}" for name, seconds in most_expensive),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="unlearn bench measuring", description="Time measuring and unlearning by the number of records to forget."
    )
    parser.add_argument(
        "--records", type=int, action="append", help="Records to forget. May be repeated; default: 5, 50, 200 and 500."
    )
    parser.add_argument(
        "--method",
        choices=sorted(METHODS),
        action="append",
        help="May be repeated; default: calibrated and npo.",
    )
    parser.add_argument("--seed", type=int, default=0, help="The seed of the data and of the training; default: 0.")
    parser.add_argument("--folder", type=Path, default=Path(".unlearn/bench"), help="The folder that keeps the models.")
    parser.add_argument("--threads", type=int, help="CPU threads; default: all.")
    parser.add_argument("--out", type=Path, help="The Markdown file whose table is replaced.")
    arguments = parser.parse_args()
    models = prepare_models(DATA, arguments.seed, arguments.folder, Path(), threads=arguments.threads)
    lines = [["job", "method", "unlearning s", "before s", "after s", "attacks s", "measuring / unlearning", "dearest"]]
    for method in arguments.method or ["calibrated", "npo"]:
        for records in arguments.records or [5, 50, 200, 500]:
            lines.append(time_job(models, method, records, threads=arguments.threads, seed=arguments.seed))
            print(" ".join(lines[-1]), file=sys.stderr, flush=True)
    command = shlex.join(["unlearn", "bench", "measuring", *sys.argv[1:]])
    machine = current_machine().description()
    text = f"Made {datetime.now(UTC):%Y-%m-%d} by `{command}`: {machine}.\n\n{aligned_table(lines)}"
    print(text)
    if arguments.out is not None:
        replace_section(arguments.out, "measuring", text)


if __name__ == "__main__":
    main()
