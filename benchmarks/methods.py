"""Every method by every measurement, beside a model that was really retrained: `unlearn bench methods`.

    python -m benchmarks.methods --data demo --seed 0 --seed 1 --seed 2 --out docs/benchmarks.md
    python -m benchmarks.methods --model smollm2 --data tofu --data lume --seed 0 --out docs/benchmarks.md

Each method runs as a job's process, as a worker starts it, at the defaults that the service gives a model of this size.
Models and results are kept in `--folder` and reused, so an interrupted benchmark continues; `--again` starts anew.
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

from rich.console import Console

from api.cli.child import ChildFailed
from api.cli.demo_real import pretrained_model
from benchmarks.child import run_child
from benchmarks.datasets import FILES, OPTION, DataMissing
from benchmarks.generated_page import replace_section, require_section
from benchmarks.memorised import KNOWN_BEFORE, TrainedModels, prepare_models, tune_models
from benchmarks.methods_page import page, write_figures
from benchmarks.results import ORIGINAL, RETRAINED, Result
from core.demo.model_source import ModelSource, SourceUnusable
from core.demo.people import general_sentences, write_jsonl
from core.demo.pretraining import Architecture
from core.schema.evaluation import MeasurementChoice
from core.schema.events import ChildEvent, CostReported, Done, Measured
from core.schema.job_spec import ChildMethod, FileRecords, MeasureSpec, UnlearnSpec
from core.schema.model_shape import read_shape
from core.schema.training import Training
from core.unlearning.eval_tokenization import default_eval_settings
from core.unlearning.objectives import METHODS

GENERAL_RECORDS = 200
DEFAULT_DATA = ("demo", "lume", "tofu")
SMALL, SMOLLM2 = "small", "smollm2"
ARCHITECTURES: dict[str, Architecture] = {SMALL: "llama", "small-gpt-neox": "gpt_neox", "small-qwen3": "qwen3"}
"""The small models, which are trained from scratch."""
IN_FULL = (RETRAINED, ORIGINAL, "calibrated")
"""The rows that `--brief` does not shorten: the retrained model, the original, and the service's default method."""


Measure = Sequence[str | MeasurementChoice]


@dataclass(frozen=True)
class Row:
    """A line of the table: a method, and the kind of its retain text."""

    label: str
    method: str
    kind: str = "in_distribution"
    parameters: tuple[tuple[str, str], ...] = ()


def rows() -> list[Row]:
    """Returns a row for every method; two for `ascent_descent` and `ascent_kl`, one for each kind of retain text."""
    methods = []
    for name in METHODS:
        if name in ("ascent_descent", "ascent_kl"):
            methods += [Row(f"{name}, in-distribution", name), Row(f"{name}, general", name, "general")]
        elif name == "dpo":  # the benchmarks' records bring no alternates of their own
            methods.append(Row("dpo, refusals", name, parameters=(("alternates", "refusal"),)))
        else:
            methods.append(Row(name, name))
    return methods


class Bench:
    """A benchmark of a seed: its models, and the results of its rows."""

    def __init__(
        self, models: TrainedModels, seed: int, *, measure: Measure, brief: Measure, threads: int, again: bool
    ) -> None:
        self._models, self._seed, self._threads, self._again = models, seed, threads, again
        self._measure, self._brief = list(measure), list(brief)
        text = models.file("general")
        if not text.exists():
            write_jsonl(general_sentences(GENERAL_RECORDS, seed), text)

    def measure_model(self, label: str, directory: Path) -> Result:
        """Returns the result of measuring the model in a directory."""
        return self._cached(label, lambda: self._measure_directory(label, directory))

    def unlearn(self, row: Row) -> Result:
        """Returns the result of unlearning by the row's method."""
        return self._cached(row.label, lambda: self._unlearn(row))

    def has(self, row: Row) -> bool:
        """Whether the row's result is stored already."""
        return self._file(row.label).exists()

    def _file(self, label: str) -> Path:
        return self._models.folder / "results" / f"{label.replace(' ', '_').replace(',', '')}.json"

    def _cached(self, label: str, make: Callable[[], Result]) -> Result:
        file = self._file(label)
        if file.exists() and not self._again:
            return Result.from_json(json.loads(file.read_text()))
        began = time.monotonic()
        result = make()
        file.parent.mkdir(exist_ok=True)
        file.write_text(json.dumps(result.to_json()))
        title = f"{self._models.folder.parent.name}, seed {self._seed}"
        print(f"{title}: {label}: {result.failure or f'{time.monotonic() - began:.0f} s'}", file=sys.stderr, flush=True)
        return result

    def _measure_directory(self, label: str, directory: Path) -> Result:
        shape = read_shape(self._models.model, root=self._models.model)
        common = self._common_fields(label, directory, default_eval_settings(shape), self._records())
        return _result(label, run_child(MeasureSpec(**common, original=self._models.model)))

    def _unlearn(self, row: Row) -> Result:
        output = self._models.folder / "output" / row.label.replace(" ", "_").replace(",", "")
        shutil.rmtree(output, ignore_errors=True)
        forget = sum(1 for _ in self._models.file("forget").open())
        training = self._models.training(row.method, forget_records=forget, seed=self._seed)
        method = ChildMethod(name=row.method, parameters=dict(row.parameters))
        records = self._records()
        if row.kind == "general":
            records = records.model_copy(update={"retain": [], "general": [self._models.file("general")]})
        common = self._common_fields(row.label, self._models.model, training, records)
        spec = UnlearnSpec(**common, method=method, output=output)
        if row.kind == "general":  # the child measures the sets of its spec; the retain set is measured afterwards
            spec = spec.model_copy(update={"measure": ["likelihood"]})
        result = _result(row.label, run_child(spec))
        if row.kind == "general" and result.failure is None:
            after = self._measure_directory(row.label, output)
            seconds = result.seconds | _measuring_seconds(after.seconds)
            result = Result(row.label, after.measurements, seconds, result.peak_host_bytes, after.failure)
        shutil.rmtree(output, ignore_errors=True)
        return result

    def _records(self) -> FileRecords:
        optional = {name: file for name in ("probes", "protected") if (file := self._models.file(name)).exists()}
        sets = {"forget": self._models.file("forget"), "unseen": self._models.file("unseen")}
        return FileRecords(retain=[self._models.file("retain")], **sets, **optional)

    def _common_fields(self, label: str, directory: Path, training: Training, records: FileRecords) -> dict[str, Any]:
        """The fields of a row's job, whichever kind it is of."""
        retrained = self._models.retrained
        return {
            "job": "job-" + "0" * 32,
            "model": self._models.folder.parent.name,
            "directory": directory,
            "training": training,
            "records": records,
            "measure": self._brief if self._brief and label not in IN_FULL else self._measure,
            "retrained": retrained if retrained.exists() and directory != retrained else None,
            "cache": self._models.folder / "cache",
            "cache_forgotten": True,  # the records are invented or published, and the same in every row
            "threads": self._threads,
        }


def _measuring_seconds(seconds: dict[str, float]) -> dict[str, float]:
    return {name: value for name, value in seconds.items() if name in ("measuring_after", "attacking")}


def _result(label: str, events: Sequence[ChildEvent]) -> Result:
    measurements = {event.moment: event.measurements for event in events if isinstance(event, Measured)}
    cost = next((event for event in events if isinstance(event, CostReported)), None)
    last = events[-1] if events else None
    failure = None
    if not isinstance(last, Done):
        failure = last.error.message if last is not None and last.kind == "failed" else "its process ended early"
    return Result(
        label,
        measurements.get("after"),
        cost.seconds if cost else {},
        cost.peak_host_bytes if cost else 0,
        failure,
    )


def run_benchmark(
    data: str, seeds: Sequence[int], arguments: argparse.Namespace, chosen: Sequence[Row], pretrained: Path | None
) -> dict[int, dict[str, Result]]:
    """Returns the results of a benchmark by seed and row, the retrained model (if any) and the original first."""
    benches = {}
    for seed in seeds:
        place = (data, seed, _folder(arguments), _public(data, arguments))
        if pretrained is None:
            models = prepare_models(*place, architecture=ARCHITECTURES[arguments.model])
        else:
            models = tune_models(*place, pretrained=pretrained)
        benches[seed] = (
            models,
            Bench(
                models,
                seed,
                measure=arguments.measure,
                brief=arguments.brief,
                threads=arguments.threads,
                again=arguments.again,
            ),
        )
    if arguments.kept:
        chosen = [row for row in chosen if all(bench.has(row) for _, bench in benches.values())]
    results: dict[int, dict[str, Result]] = {seed: {} for seed in seeds}
    with ThreadPoolExecutor(arguments.workers) as pool:
        futures = []
        for seed, (models, bench) in benches.items():
            if models.retrained.exists():
                futures.append((seed, RETRAINED, pool.submit(bench.measure_model, RETRAINED, models.retrained)))
            futures.append((seed, ORIGINAL, pool.submit(bench.measure_model, ORIGINAL, models.model)))
        futures += [(seed, row.label, pool.submit(benches[seed][1].unlearn, row)) for row in chosen for seed in seeds]
        for seed, label, future in futures:
            results[seed][label] = future.result()
    return results


def _folder(arguments: argparse.Namespace) -> Path:
    """The folder of a model's results: the small Llamas' lie in the benchmark's own."""
    folder: Path = arguments.folder
    return folder if arguments.model == SMALL else folder / arguments.model


def _public(data: str, arguments: argparse.Namespace) -> Path:
    """The folder with the public files of a benchmark."""
    folders: dict[str, Path] = {"--public": arguments.public, "--passages": arguments.passages}
    return folders[OPTION[data]]


def _pretrained(arguments: argparse.Namespace) -> Path | None:
    """The directory of the pre-trained model, downloaded and converted once; None for the small models."""
    if arguments.model in ARCHITECTURES:
        return None
    return pretrained_model(ModelSource(arguments.model_source), _folder(arguments), Console(stderr=True))


def _choice(text: str) -> str | MeasurementChoice:
    return MeasurementChoice.model_validate_json(text) if text.startswith("{") else text


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="unlearn bench methods",
        description="Run every method and every measurement, beside a model retrained without the forget set.",
    )
    parser.add_argument(
        "--model",
        choices=(*ARCHITECTURES, SMOLLM2),
        default=SMALL,
        help="A small Llama (or GPT-NeoX, or Qwen3) that is trained on each benchmark, or SmolLM2-135M-Instruct, which"
        " is downloaded and fine-tuned on smaller sets; default: the small Llama.",
    )
    parser.add_argument(
        "--model-source",
        type=Path,
        help="With --model smollm2: a directory with a model in safetensors, a .gguf file, or a wheel with one, instead"
        " of the download.",
    )
    parser.add_argument(
        "--data",
        choices=sorted(FILES),
        action="append",
        help="May be repeated; default: demo, lume and tofu. 'pretraining' goes with --model smollm2 only: text that"
        " the model knows from its pre-training.",
    )
    parser.add_argument("--seed", type=int, action="append", help="May be repeated; default: 0, 1 and 2.")
    parser.add_argument(
        "--method", choices=sorted(METHODS), action="append", help="May be repeated; default: every method."
    )
    parser.add_argument(
        "--measure",
        action="append",
        type=_choice,
        help='A measurement, a group, or JSON with parameters, such as \'{"name": "exposure", "records": 8}\'; default:'
        " thorough",
    )
    parser.add_argument(
        "--brief",
        action="append",
        type=_choice,
        default=[],
        help=f"The same for all rows but {', '.join(IN_FULL)}; default: the same as for these.",
    )
    parser.add_argument(
        "--folder", type=Path, default=Path(".unlearn/bench"), help="The folder that keeps models and results."
    )
    parser.add_argument(
        "--public", type=Path, default=Path("../shared/data"), help="The folder with TOFU's and LUME's files."
    )
    parser.add_argument(
        "--passages",
        type=Path,
        default=Path(".unlearn/passages"),
        help="The folder with the folders forget, retain and unseen, whose texts the benchmark pretraining reads.",
    )
    parser.add_argument("--workers", type=int, default=2, help="Jobs at a time; default: 2.")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads of each job; default: 1.")
    parser.add_argument(
        "--kept", action="store_true", help="Show only the methods that have kept results of every seed."
    )
    parser.add_argument("--again", action="store_true", help="Make results again that are kept already.")
    parser.add_argument("--out", type=Path, help="The Markdown file whose tables are replaced.")
    arguments = parser.parse_args()
    names = arguments.data or DEFAULT_DATA
    if KNOWN_BEFORE in names and arguments.model != SMOLLM2:
        parser.error(
            f"--data {KNOWN_BEFORE} goes with --model {SMOLLM2}: the small models were trained on nothing else"
        )
    if arguments.model_source is not None and arguments.model != SMOLLM2:
        parser.error(f"--model-source goes with --model {SMOLLM2}")
    section = "methods" if arguments.model == SMALL else f"methods-{arguments.model}"
    if arguments.out is not None:
        require_section(arguments.out, section)  # before the jobs, which take hours
    arguments.measure = arguments.measure or ["standard" if arguments.model == SMOLLM2 else "thorough"]
    chosen = [row for row in rows() if arguments.method is None or row.method in arguments.method]
    try:
        pretrained = _pretrained(arguments)
        results = {
            data: run_benchmark(data, arguments.seed or [0, 1, 2], arguments, chosen, pretrained) for data in names
        }
    except (SourceUnusable, ChildFailed, DataMissing) as failure:
        parser.exit(1, f"{failure}\n")
    public = {data: _public(data, arguments) for data in names}
    text = page(results, public, shlex.join(["unlearn", "bench", "methods", *sys.argv[1:]]))
    print(text)
    if arguments.out is not None:
        replace_section(arguments.out, section, text)
        write_figures(arguments.out.with_name(f"{section}-figures.csv"), results)


if __name__ == "__main__":
    main()
