"""Relearning by attack and defence, beside a model retrained without the forget set: `unlearn bench relearning`.

    python -m benchmarks.relearning --folder DIR --out docs/benchmarks.md

For each defence of `training.relearning_defence` a job unlearns as a worker starts it; then every attack of the
measurement `relearned` is made on its checkpoint, and on the retrained model. Models, checkpoints and results are kept
in `--folder`, so an interrupted benchmark continues.
"""

import argparse
import shlex
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import torch

from benchmarks.child import run_child
from benchmarks.datasets import FILES
from benchmarks.generated_page import aligned_table, replace_section
from benchmarks.machine import current_machine
from benchmarks.memorised import TrainedModels, prepare_models
from core.demo.people import read_jsonl
from core.evaluation.eval_context import EvalContext
from core.evaluation.measurements import resolve_measurements
from core.evaluation.measurements.relearned import CURVE_OF
from core.evaluation.runner import measure_model
from core.lm.model import load
from core.lm.split import split
from core.schema.evaluation import MeasurementChoice, Measurements, SetName
from core.schema.events import CostReported
from core.schema.figure_names import RELEARNING_ATTACK_NAMES
from core.schema.job_spec import ChildMethod, FileRecords, UnlearnSpec
from core.schema.record import Record
from core.schema.strict import Strict
from core.schema.training import RelearningDefence

MARK = "relearning"
METHOD = "calibrated"
EVERY = 10
STEPS = 50
DEFENCES: tuple[RelearningDefence, ...] = get_args(RelearningDefence)
HALF = 0.5
"""The share of the retrained model's perplexity that the forgotten records should keep under every attack."""


class Row(Strict):
    """What one model gave: its figures, and what the job that made it cost."""

    measurements: Measurements
    tokens: int = 0
    seconds: float = 0.0


class Bench:
    """The jobs of one seed, and the attacks on what they deliver; every row's result is kept."""

    def __init__(self, models: TrainedModels, *, method: str, seed: int, threads: int) -> None:
        self._models, self._method, self._threads = models, method, threads
        records = {name: read_jsonl(models.file(name)) for name in ("forget", "retain", "unseen")}
        training = models.training(method, forget_records=len(records["forget"]), seed=seed)
        # every defence gets the same updates at the same rates
        self._training = training.model_copy(update={"tune": "off"})
        self._sets: dict[SetName, list[Record]] = {"forget": records["forget"]}
        names: tuple[SetName, ...] = ("retain", "unseen")
        for name in names:
            _, measures = split(records[name], purpose=name)
            self._sets[name] = [records[name][index] for index in measures]
        attacks = {"name": "relearned", "attacks": RELEARNING_ATTACK_NAMES, "steps": STEPS, "every": EVERY}
        relearned = MeasurementChoice.model_validate(attacks | {"seconds": 86_400})
        self._measure = resolve_measurements(["likelihood", "membership", relearned])

    def retrained(self) -> Row:
        """Returns the figures of the retrained model."""
        return self._kept("retrained", lambda: Row(measurements=self._attack(self._models.retrained)))

    def row(self, defence: RelearningDefence) -> Row:
        """Returns what a defence gave."""
        return self._kept(f"{self._method}-{defence}", lambda: self._unlearn_and_attack(defence))

    def _kept(self, name: str, make: Callable[[], Row]) -> Row:
        file = self._folder / f"{name}.json"
        if not file.exists():
            row = make()
            file.write_text(row.model_dump_json())
        return Row.model_validate_json(file.read_text())

    @property
    def _folder(self) -> Path:
        folder = self._models.folder / "relearning"
        folder.mkdir(exist_ok=True)
        return folder

    def _unlearn_and_attack(self, defence: RelearningDefence) -> Row:
        output = self._folder / f"{self._method}-{defence}"
        cost = self._unlearn(defence, output)
        row = Row(measurements=self._attack(output), tokens=cost.tokens, seconds=cost.seconds["unlearning"])
        shutil.rmtree(output)
        return row

    def _unlearn(self, defence: RelearningDefence, output: Path) -> CostReported:
        shutil.rmtree(output, ignore_errors=True)
        spec = UnlearnSpec(
            job="job-" + "0" * 32,
            model=self._models.folder.parent.name,
            directory=self._models.model,
            training=self._training.model_copy(update={"relearning_defence": defence}),
            records=FileRecords(
                forget=self._models.file("forget"),
                retain=[self._models.file("retain")],
                unseen=self._models.file("unseen"),
            ),
            measure=["likelihood"],
            threads=self._threads,
            method=ChildMethod(name=self._method, parameters={}),
            output=output,
        )
        costs = [event for event in run_child(spec) if isinstance(event, CostReported)]
        if not costs:
            raise RuntimeError(f"{defence}: the job ended without a checkpoint")
        return costs[0]

    def _attack(self, model: Path) -> Measurements:
        context = EvalContext(
            lambda: load(model, "auto", device=torch.device("cpu")), self._sets, training=self._training
        )
        return measure_model(context, self._measure, model_digest=model.name)


def attack_table(retrained: Measurements, rows: dict[RelearningDefence, Row]) -> str:
    """The forgotten records' perplexity before each attack and after 10 and 50 steps, by attack and defence."""
    lines = [["attack", "retrained", *rows]]
    for attack in RELEARNING_ATTACK_NAMES:
        yardstick = _places(retrained, CURVE_OF[attack])
        cells = [_cell(_places(row.measurements, CURVE_OF[attack]), yardstick) for row in rows.values()]
        lines.append([attack, _cell(yardstick, {}), *cells])
    worst = [lowest_ratio(row.measurements, retrained) for row in rows.values()]
    return aligned_table([*lines, ["the lowest ratio", "", *worst]])


def cost_table(retrained: Measurements, rows: dict[RelearningDefence, Row]) -> str:
    """Perplexities, AUCs and cost by defence; tokens also as a ratio to the first defence's."""
    lines = [["", "forget ppl", "unseen ppl", "retain ppl", "AUC of loss", "of min-k++ 20 %", "tokens", "seconds"]]
    lines.append(["retrained", *_figures(retrained), "", ""])
    plain = next(iter(rows.values())).tokens
    for defence, row in rows.items():
        cost = [f"{row.tokens:,} ({row.tokens / plain:.2f})", f"{row.seconds:.0f}"]
        lines.append([defence, *_figures(row.measurements), *cost])
    return aligned_table(lines)


def _places(measurements: Measurements, curve: str) -> dict[int, float]:
    return {point.step: point.figure.value for point in measurements.curves.get(curve, [])}


def _cell(places: dict[int, float], yardstick: dict[int, float]) -> str:
    """Perplexities at 0, 10 and 50 steps; one under half of the yardstick's is in brackets."""
    texts = []
    for step in (0, EVERY, STEPS):
        if step in places:
            below = step in yardstick and places[step] < HALF * yardstick[step]
            texts.append(f"({places[step]:.1f})" if below else f"{places[step]:.1f}")
    return " → ".join(texts) or "–"


def lowest_ratio(measurements: Measurements, retrained: Measurements) -> str:
    """The lowest ratio of the perplexity to the retrained model's under the same attack, with attack and step."""
    ratios = {
        (place / other[step], attack, step)
        for attack in RELEARNING_ATTACK_NAMES
        for other in [_places(retrained, CURVE_OF[attack])]
        for step, place in _places(measurements, CURVE_OF[attack]).items()
        if step and step in other
    }
    if not ratios:
        return "–"
    ratio, attack, step = min(ratios)
    return f"{ratio:.2f}, {attack} at {step}"


def _figures(measurements: Measurements) -> list[str]:
    perplexities = [f"{measurements.sets[name]['perplexity'].value:.3g}" for name in ("forget", "unseen", "retain")]
    aucs = [f"{measurements.attacks[attack].auc.value:.2f}" for attack in ("loss", "min_k++_20")]
    return [*perplexities, *aucs]


def section(retrained: Measurements, rows: dict[RelearningDefence, Row], command: str) -> str:
    """The text between the marks of the page."""
    return (
        f"Made by `{command}` on {current_machine().description()}.\n\n"
        f"{attack_table(retrained, rows)}\n\n{cost_table(retrained, rows)}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="unlearn bench relearning", description=__doc__)
    parser.add_argument("--data", choices=sorted(FILES), default="demo-50", help="Default: demo-50.")
    parser.add_argument("--method", default=METHOD, help=f"The method; default: {METHOD}.")
    parser.add_argument("--defence", choices=DEFENCES, action="append", help="May be repeated; default: all.")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, default=Path(".unlearn/bench"), help="The folder that keeps models.")
    parser.add_argument("--public", type=Path, default=Path("../shared/data"), help="The folder with LUME's files.")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads; default: 1.")
    parser.add_argument("--out", type=Path, help="The Markdown file whose section is replaced.")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    models = prepare_models(options.data, options.seed, options.folder, options.public, threads=options.threads)
    bench = Bench(models, method=options.method, seed=options.seed, threads=options.threads)
    rows = {defence: bench.row(defence) for defence in options.defence or DEFENCES}
    text = section(bench.retrained().measurements, rows, shlex.join(["unlearn", "bench", "relearning", *sys.argv[1:]]))
    print(text)
    if options.out is not None:
        replace_section(options.out, MARK, text)


if __name__ == "__main__":
    main()
