"""Every method by every measurement, beside the model retrained for real: `unlearn bench methods`.

    python -m benchmarks.methods --data demo --seed 0 --seed 1 --seed 2 --out docs/benchmarks.md

Each method is a job's own process, as a worker starts it, at the defaults that the service gives a model of this size.
What was made lies in `--folder` and is not made again: a bench that was cut off goes on, `--again` begins anew.
"""

import argparse
import json
import shlex
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.child import run_child
from benchmarks.datasets import FILES
from benchmarks.generated_page import replace_section
from benchmarks.memorised import TrainedModels, prepare_models
from benchmarks.methods_page import page, write_figures
from benchmarks.results import ORIGINAL, RETRAINED, Result
from core.demo.people import general_sentences, write_jsonl
from core.schema.evaluation import MeasurementChoice
from core.schema.events import ChildEvent, CostReported, Done, Measured
from core.schema.job_spec import ChildMethod, FileRecords, MeasureSpec, UnlearnSpec
from core.schema.model_shape import read_shape
from core.schema.training import Training
from core.unlearning.eval_tokenization import default_eval_settings
from core.unlearning.objectives import METHODS

GENERAL_RECORDS = 200
DEFAULT_DATA = ("demo", "lume", "tofu")
IN_FULL = (RETRAINED, ORIGINAL, "calibrated")
"""The rows that `--brief` does not shorten: what is aimed at, what is begun with, and the service's default."""


Measure = Sequence[str | MeasurementChoice]


@dataclass(frozen=True)
class Row:
    """One line of the table: a method, and the kind of text that it holds on to."""

    label: str
    method: str
    kind: str = "in_distribution"
    parameters: tuple[tuple[str, str], ...] = ()


def rows() -> list[Row]:
    """Every method; those of the seed paper that hold on to a set twice, once for each kind of text."""
    found = []
    for name in METHODS:
        if name in ("ascent_descent", "ascent_kl"):
            found += [Row(f"{name}, in-distribution", name), Row(f"{name}, general", name, "general")]
        elif name == "dpo":  # the benchmarks' records bring no alternates of their own
            found.append(Row("dpo, refusals", name, parameters=(("alternates", "refusal"),)))
        else:
            found.append(Row(name, name))
    return found


class Bench:
    """One benchmark of one seed: its models, and the results of its rows."""

    def __init__(
        self, made: TrainedModels, seed: int, *, measure: Measure, brief: Measure, threads: int, again: bool
    ) -> None:
        self._made, self._seed, self._threads, self._again = made, seed, threads, again
        self._measure, self._brief = list(measure), list(brief)
        text = made.file("general")
        if not text.exists():
            write_jsonl(general_sentences(GENERAL_RECORDS, seed), text)

    def measured(self, label: str, directory: Path) -> Result:
        """A model as it lies there."""
        return self._kept(label, lambda: self._measure_directory(label, directory))

    def unlearned(self, row: Row) -> Result:
        """What a method makes of the model."""
        return self._kept(row.label, lambda: self._unlearn(row))

    def has(self, row: Row) -> bool:
        """Whether the row's result is there already."""
        return self._file(row.label).exists()

    def _file(self, label: str) -> Path:
        return self._made.folder / "results" / f"{label.replace(' ', '_').replace(',', '')}.json"

    def _kept(self, label: str, make: Callable[[], Result]) -> Result:
        file = self._file(label)
        if file.exists() and not self._again:
            return Result.of(json.loads(file.read_text()))
        began = time.monotonic()
        result = make()
        file.parent.mkdir(exist_ok=True)
        file.write_text(json.dumps(result.stored()))
        where = f"{self._made.folder.parent.name}, seed {self._seed}"
        print(f"{where}: {label}: {result.failure or f'{time.monotonic() - began:.0f} s'}", file=sys.stderr, flush=True)
        return result

    def _measure_directory(self, label: str, directory: Path) -> Result:
        shape = read_shape(self._made.model, root=self._made.folder)
        common = self._common_fields(label, directory, default_eval_settings(shape), self._records())
        return _result(label, run_child(MeasureSpec(**common, original=self._made.model)))

    def _unlearn(self, row: Row) -> Result:
        output = self._made.folder / "output" / row.label.replace(" ", "_").replace(",", "")
        shutil.rmtree(output, ignore_errors=True)
        forget = sum(1 for _ in self._made.file("forget").open())
        training = self._made.training(row.method, forget_records=forget, seed=self._seed)
        method = ChildMethod(name=row.method, parameters=dict(row.parameters))
        records = self._records()
        if row.kind == "general":
            records = records.model_copy(update={"retain": [], "general": [self._made.file("general")]})
        common = self._common_fields(row.label, self._made.model, training, records)
        spec = UnlearnSpec(**common, method=method, output=output)
        if row.kind == "general":  # the child measures what it is given: the retain set is measured afterwards
            spec = spec.model_copy(update={"measure": ["likelihood"]})
        result = _result(row.label, run_child(spec))
        if row.kind == "general" and result.failure is None:
            after = self._measure_directory(row.label, output)
            seconds = result.seconds | _after(after.seconds)
            result = Result(row.label, after.measurements, seconds, result.peak_host_bytes, after.failure)
        shutil.rmtree(output, ignore_errors=True)
        return result

    def _records(self) -> FileRecords:
        asked = {name: file for name in ("probes", "protected") if (file := self._made.file(name)).exists()}
        sets = {"forget": self._made.file("forget"), "unseen": self._made.file("unseen")}
        return FileRecords(retain=[self._made.file("retain")], **sets, **asked)

    def _common_fields(self, label: str, directory: Path, training: Training, records: FileRecords) -> dict[str, Any]:
        """The fields of a row's job, whichever kind it is of."""
        return {
            "job": "job-" + "0" * 32,
            "model": self._made.folder.parent.name,
            "directory": directory,
            "training": training,
            "records": records,
            "measure": self._brief if self._brief and label not in IN_FULL else self._measure,
            "retrained": None if directory == self._made.retrained else self._made.retrained,
            "cache": self._made.folder / "cache",
            "cache_forgotten": True,  # invented or published, and the same in every row
            "threads": self._threads,
        }


def _after(seconds: dict[str, float]) -> dict[str, float]:
    return {name: value for name, value in seconds.items() if name in ("measuring_after", "attacking")}


def _result(label: str, events: Sequence[ChildEvent]) -> Result:
    found = {event.moment: event.measurements for event in events if isinstance(event, Measured)}
    cost = next((event for event in events if isinstance(event, CostReported)), None)
    last = events[-1] if events else None
    failure = None
    if not isinstance(last, Done):
        failure = last.error.message if last is not None and last.kind == "failed" else "its process ended early"
    return Result(
        label,
        found.get("after"),
        cost.seconds if cost else {},
        cost.peak_host_bytes if cost else 0,
        failure,
    )


def made(
    data: str, seeds: Sequence[int], given: argparse.Namespace, chosen: Sequence[Row]
) -> dict[int, dict[str, Result]]:
    """The results of a benchmark, by seed and row: the original and the retrained model first."""
    benches = {}
    for seed in seeds:
        models = prepare_models(data, seed, given.folder, given.public)
        benches[seed] = (
            models,
            Bench(models, seed, measure=given.measure, brief=given.brief, threads=given.threads, again=given.again),
        )
    if given.kept:
        chosen = [row for row in chosen if all(bench.has(row) for _, bench in benches.values())]
    found: dict[int, dict[str, Result]] = {seed: {} for seed in seeds}
    with ThreadPoolExecutor(given.workers) as pool:
        work = []
        for seed, (models, bench) in benches.items():
            for label, directory in ((RETRAINED, models.retrained), (ORIGINAL, models.model)):
                work.append((seed, label, pool.submit(bench.measured, label, directory)))
        work += [(seed, row.label, pool.submit(benches[seed][1].unlearned, row)) for row in chosen for seed in seeds]
        for seed, label, future in work:
            found[seed][label] = future.result()
    return found


def _choice(text: str) -> str | MeasurementChoice:
    return MeasurementChoice.model_validate_json(text) if text.startswith("{") else text


def main() -> None:
    arguments = argparse.ArgumentParser(
        prog="unlearn bench methods",
        description="Run every method and every measurement, beside a model retrained without the forget set.",
    )
    arguments.add_argument(
        "--data", choices=sorted(FILES), action="append", help="May be repeated; default: demo, lume and tofu."
    )
    arguments.add_argument("--seed", type=int, action="append", help="May be repeated; default: 0, 1 and 2.")
    arguments.add_argument(
        "--method", choices=sorted(METHODS), action="append", help="May be repeated; default: every method."
    )
    arguments.add_argument(
        "--measure",
        action="append",
        type=_choice,
        help='A measurement, a group, or JSON with parameters, such as \'{"name": "exposure", "records": 8}\'; default:'
        " thorough",
    )
    arguments.add_argument(
        "--brief",
        action="append",
        type=_choice,
        default=[],
        help=f"The same for all rows but {', '.join(IN_FULL)}; default: the same as for these.",
    )
    arguments.add_argument(
        "--folder", type=Path, default=Path(".unlearn/bench"), help="The folder that keeps models and results."
    )
    arguments.add_argument(
        "--public", type=Path, default=Path("../shared/data"), help="The folder with TOFU's and LUME's files."
    )
    arguments.add_argument("--workers", type=int, default=2, help="Jobs at a time; default: 2.")
    arguments.add_argument("--threads", type=int, default=1, help="CPU threads of each job; default: 1.")
    arguments.add_argument(
        "--kept", action="store_true", help="Show only the methods that have kept results of every seed."
    )
    arguments.add_argument("--again", action="store_true", help="Make results again that are kept already.")
    arguments.add_argument("--out", type=Path, help="The Markdown file whose tables are replaced.")
    given = arguments.parse_args()
    given.measure = given.measure or ["thorough"]
    chosen = [row for row in rows() if given.method is None or row.method in given.method]
    whole = {data: made(data, given.seed or [0, 1, 2], given, chosen) for data in given.data or DEFAULT_DATA}
    text = page(whole, given.public, shlex.join(["unlearn", "bench", "methods", *sys.argv[1:]]))
    print(text)
    if given.out is not None:
        replace_section(given.out, "methods", text)
        write_figures(given.out.with_name("methods-figures.csv"), whole)


if __name__ == "__main__":
    main()
