"""How requests of one record are judged on trained models: one that forgot the record, and one that gives it back.

    python -m benchmarks.single_records --folder DIR --out docs/benchmarks.md

Both are the demo's small models of `benchmarks.memorised`: the twin that was retrained without the record stands for a
request that worked, the original for one that changed nothing. Each record is a request of its own. All that the
default policy goes by is measured; names and numbers for twins come from the request's own record, as the unseen ones
are looked at by the original alone but for membership. Bounds on what must survive are left out, since neither model
was made by a job.
"""

import argparse
from collections import Counter
from pathlib import Path
from typing import get_args

import torch

from benchmarks.generated_page import aligned_table, replace_section
from benchmarks.memorised import TrainedModels, prepare_models
from core.demo.people import read_jsonl
from core.evaluation.eval_context import EvalContext
from core.evaluation.measurement import Measurement
from core.evaluation.measurements import resolve_measurements
from core.evaluation.policy.requirements import required_measurements
from core.evaluation.policy.verdict import judge
from core.evaluation.runner import measure_model
from core.lm.model import load
from core.schema.default_policy import DEFAULT_POLICY
from core.schema.evaluation import Measurements, Moment, SetName
from core.schema.policies import Judgement, Policy
from core.schema.record import Record
from core.schema.verdict_parts import Verdict

MARK = "single-records"
UNSEEN = 100
BESIDE_UNSEEN = ("likelihood", "membership", "baseline")
"""Measurements of the changed model that look at forget and unseen records together."""
FORGETTING = Policy(
    name="default",
    bounds=[bound for bound in DEFAULT_POLICY.bounds if not bound.concerns_survival],
    requires=DEFAULT_POLICY.requires,
)
RESULTS: tuple[Verdict, ...] = get_args(Verdict)


class Requests:
    """Requests of one record each on the small models, judged beside the original's figures on unseen records."""

    def __init__(self, models: TrainedModels, unseen: list[Record], *, seed: int) -> None:
        self._unseen = unseen
        self._training = models.training("calibrated", forget_records=1, seed=seed)
        self._chosen = resolve_measurements(required_measurements(FORGETTING, retrained=False))
        self._before = self._measure(models.model, {"unseen": unseen}, "before", self._chosen)

    def judge(self, model: Path, record: Record) -> Judgement:
        """The judgement on a model that had to forget this record."""
        with_unseen = [measurement for measurement in self._chosen if measurement.name in BESIDE_UNSEEN]
        forget_only = [measurement for measurement in self._chosen if measurement.name not in BESIDE_UNSEEN]
        after = self._measure(model, {"forget": [record], "unseen": self._unseen}, "after", with_unseen)
        forget_figures = self._measure(model, {"forget": [record]}, "after", forget_only)
        after.sets["forget"] |= forget_figures.sets["forget"]
        after.variants = forget_figures.variants
        return judge(FORGETTING, before=self._before, after=after)

    def _measure(
        self, model: Path, sets: dict[SetName, list[Record]], moment: Moment, chosen: list[Measurement]
    ) -> Measurements:
        device = torch.device("cpu")
        context = EvalContext(lambda: load(model, "auto", device=device), sets, training=self._training, moment=moment)
        return measure_model(context, chosen, model_digest=str(model))


def row(name: str, judgements: list[Judgement]) -> list[str]:
    """The model, and passed / failed / not judged in percent of the requests: as a whole, and of each part."""
    columns = (
        [judgement.verdict for judgement in judgements],
        [judgement.parts["extraction"].result for judgement in judgements],
        [judgement.parts["membership"].result for judgement in judgements],
    )
    shares = [[100 * Counter(results)[result] / len(results) for result in RESULTS] for results in columns]
    return [name, *(" / ".join(f"{share:.3g}" for share in column) for column in shares)]


def missed(judgements: list[Judgement]) -> str:
    """The bounds that keep requests from passing, each with the number of requests."""
    counts = Counter(
        judged.bound.name
        for judgement in judgements
        if judgement.verdict != "passed"
        for judged in judgement.bounds
        if judged.carries and (judged.result == "failed" or (judged.part == "extraction" and judged.result != "passed"))
    )
    return ", ".join(f"`{name}` {count}" for name, count in counts.most_common())


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.single_records")
    parser.add_argument("--folder", type=Path, required=True, help="where the small models lie, or are put")
    parser.add_argument("--records", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    models = prepare_models("demo", options.seed, options.folder, options.folder, threads=torch.get_num_threads())
    requests = Requests(models, read_jsonl(models.file("unseen"))[:UNSEEN], seed=options.seed)
    records = read_jsonl(models.file("forget"))[: options.records]
    worked, unchanged = (
        [requests.judge(model, record) for record in records] for model in (models.retrained, models.model)
    )
    lines = [
        ["the model", "verdict", "extraction", "membership"],
        row("retrained without the record", worked),
        row("the original, which gives it back", unchanged),
    ]
    text = (
        f"Made by `python -m benchmarks.single_records --records {options.records} --seed {options.seed}`: so many"
        f" requests of one record, {UNSEEN} unseen records; passed / failed / not judged, in percent."
        f"\n\n{aligned_table(lines)}"
        f"\n\nBounds that kept a request from passing where the model was retrained: {missed(worked) or 'none'}."
    )
    if options.out is None:
        print(text)
    else:
        replace_section(options.out, MARK, text)


if __name__ == "__main__":
    main()
