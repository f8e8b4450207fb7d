"""What measuring costs beside unlearning, by the number of records to forget: `unlearn bench measuring`.

    python -m benchmarks.measuring --records 20 --records 500 --method calibrated --out docs/benchmarks.md

One model that knows 500 records to forget and 300 to retain by heart; each job, at the service's defaults, must forget
the first so many of them, in a process of its own, with nothing kept of the jobs before it.
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
DEAREST = 4


def job(made: TrainedModels, method: str, forget: Path, records: int, *, threads: int | None, seed: int) -> UnlearnSpec:
    """As the service would fill it in. The output is a directory beside the forget set's file."""
    return UnlearnSpec(
        method=ChildMethod(name=method, parameters={}),
        job="job-" + "0" * 32,
        model=DATA,
        directory=made.model,
        training=made.training(method, forget_records=records, seed=seed),
        records=FileRecords(forget=forget, retain=[made.file("retain")], unseen=made.file("unseen")),
        output=forget.parent / "checkpoint",
        threads=threads,
    )


def row(made: TrainedModels, method: str, records: int, *, threads: int | None, seed: int) -> list[str]:
    """One job's seconds. Raises RuntimeError where it did not end as it should."""
    with tempfile.TemporaryDirectory() as folder:
        forget = Path(folder) / "forget.jsonl"
        lines = made.file("forget").read_text(encoding="utf-8").splitlines(keepends=True)
        forget.write_text("".join(lines[:records]), encoding="utf-8")
        told = run_child(job(made, method, forget, records, threads=threads, seed=seed))
        shutil.rmtree(forget.parent / "checkpoint", ignore_errors=True)
    if not isinstance(told[-1], Done):
        raise RuntimeError(f"{method} on {records} records ended with {told[-1].kind}")
    cost = next(event for event in told if isinstance(event, CostReported))
    after = next(event.measurements for event in told if isinstance(event, Measured) and event.moment == "after")
    spent = [cost.seconds.get(phase, 0.0) for phase in MEASURING_PHASES]
    unlearning = cost.seconds["unlearning"]
    dearest = sorted(after.seconds_of.items(), key=lambda one: -one[1])[:DEAREST]
    return [
        f"{records} records",
        method,
        f"{unlearning:.1f}",
        *(f"{one:.1f}" for one in spent),
        f"{sum(spent) / unlearning:.2f}",
        ", ".join(f"{name} {seconds:.1f}" for name, seconds in dearest),
    ]


def main() -> None:
    arguments = argparse.ArgumentParser(
        prog="unlearn bench measuring", description="Time measuring and unlearning by the number of records to forget."
    )
    arguments.add_argument(
        "--records", type=int, action="append", help="Records to forget. May be repeated; default: 5, 50, 200 and 500."
    )
    arguments.add_argument(
        "--method",
        choices=sorted(METHODS),
        action="append",
        help="May be repeated; default: calibrated and npo.",
    )
    arguments.add_argument("--seed", type=int, default=0, help="The seed of the data and of the training; default: 0.")
    arguments.add_argument(
        "--folder", type=Path, default=Path(".unlearn/bench"), help="The folder that keeps the models."
    )
    arguments.add_argument("--threads", type=int, help="CPU threads; default: all.")
    arguments.add_argument("--out", type=Path, help="The Markdown file whose table is replaced.")
    given = arguments.parse_args()
    made = prepare_models(DATA, given.seed, given.folder, Path(), threads=given.threads)
    lines = [["job", "method", "unlearning s", "before s", "after s", "attacks s", "measuring / unlearning", "dearest"]]
    for method in given.method or ["calibrated", "npo"]:
        for records in given.records or [5, 50, 200, 500]:
            lines.append(row(made, method, records, threads=given.threads, seed=given.seed))
            print(" ".join(lines[-1]), file=sys.stderr, flush=True)
    command = shlex.join(["unlearn", "bench", "measuring", *sys.argv[1:]])
    machine = current_machine().description()
    text = f"Made {datetime.now(UTC):%Y-%m-%d} by `{command}`: {machine}.\n\n{aligned_table(lines)}"
    print(text)
    if given.out is not None:
        replace_section(given.out, "measuring", text)


if __name__ == "__main__":
    main()
