"""Preflight against real jobs: what was expected to be the peak, beside what the child had in memory at most.

    python -m benchmarks.preflight [--out docs/benchmarks.md] [--case NAME ...]

Each case is a real child process (`python -m core.pipeline`) on a model with random weights: loading, measuring,
unlearning, saving, measuring what was saved, all of it by every measurement of `standard` (exposure on few records: of
each it puts a hundred twins through the model, and then gives back what that took). CPU only. A quarter of an hour for
all; each case runs alone.
"""

import argparse
import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.random_models import SHAPES, Shape, write_model, write_records
from core.preflight.estimate import estimate
from core.preflight.memory import Memory
from core.preflight.processor import has_fast_bfloat16
from core.preflight.workload import SetSize, Workload
from core.schema.evaluation import MeasurementChoice
from core.schema.events import CHILD_EVENT, CostReported, Failed
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
    """One job. `words` of each record: a word is two to three tokens."""

    shape: Shape
    method: str
    records: int = 8
    others: int = 16
    words: int = 30
    training: dict[str, Any] = field(default_factory=dict)


CASES: dict[str, Case] = {
    "4M, 2k, ascent_descent": Case(SHAPES["4M, 2k"], "ascent_descent"),
    "4M, 2k, calibrated, the demo's sizes and updates": Case(
        SHAPES["4M, 2k"], "calibrated", records=200, others=400, words=20, training={"epochs": 18}
    ),
    "4M, 2k, long records": Case(SHAPES["4M, 2k"], "gradient_ascent", records=24, words=400),
    "19M, 32k, ascent_kl": Case(SHAPES["19M, 32k"], "ascent_kl", words=60),
    "30M, 2k, ascent_descent": Case(SHAPES["30M, 2k"], "ascent_descent", words=60),
    "30M, 2k, many updates": Case(
        SHAPES["30M, 2k"], "ascent_descent", records=64, others=64, words=20, training={"records_per_step": 8}
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


@dataclass(frozen=True)
class Found:
    """A case's peak as it was expected and as it was; bytes of host memory."""

    name: str
    parameters: int
    phase: str
    expected: int
    measured: int

    @property
    def ratio(self) -> float:
        return self.expected / self.measured


def job(case: Case, folder: Path) -> tuple[UnlearnSpec, Workload]:
    """The case's model and records, written into `folder`; the job for the child, and as preflight sees it."""
    directory = write_model(case.shape, folder / "model")
    shape = read_shape(directory.resolve(), root=directory.resolve())
    asked = TrainingRequest.model_validate({"epochs": 2, "learning_rate": 1e-4, "snapshot_every": 0} | case.training)
    training = fill_training(asked, case.method, parameters=shape.parameters, forget_records=case.records)
    counts = {"forget": case.records, "retain": case.others, "unseen": case.others}
    files = {
        name: write_records(folder / f"{name}.jsonl", records=count, words=case.words, seed=seed)
        for seed, (name, count) in enumerate(counts.items())
    }
    method = resolve(case.method, {})
    given = {name for name in files if name == "forget" or name in method.needs()}
    sets = {
        name: SetSize.from_file(records=counts[name], size=files[name].stat().st_size, shape=shape) for name in given
    }
    spec = UnlearnSpec(
        job="preflight",
        model="random",
        directory=directory,
        method=ChildMethod(name=case.method, parameters={}),
        training=training,
        records=FileRecords(
            forget=files["forget"],
            retain=[files["retain"]] if "retain" in given else [],
            unseen=files["unseen"] if "unseen" in given else None,
        ),
        output=folder / "checkpoint",
        threads=1,
        measure=MEASURE,
    )
    return spec, Workload(shape, method, training, sets, bfloat16=has_fast_bfloat16())


def cost_of(spec: CommonSpec) -> CostReported:
    """What a child process says that the job took. RuntimeError where it fails."""
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    child = subprocess.Popen(
        [sys.executable, "-m", "core.pipeline"],
        cwd=REPOSITORY,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    # standard input stays open until it has said its last word: a child whose input ends, ends itself
    with child, child.stdin as commands, child.stdout as lines:  # type: ignore[union-attr]
        commands.write(spec.model_dump_json() + "\n")
        commands.flush()
        events = [CHILD_EVENT.validate_json(line) for line in lines]
    costs = [event for event in events if isinstance(event, CostReported)]
    if not costs:
        failures = [event.error.message for event in events if isinstance(event, Failed)]
        raise RuntimeError(f"the job failed: {failures or 'it did not say why'}")
    return costs[0]


def compare(name: str, case: Case) -> Found:
    """Runs the case."""
    with TemporaryDirectory() as folder:
        spec, work = job(case, Path(folder))
        expected = estimate(work)
        phase = Memory(work).peak("host").name
        cost = cost_of(spec)
    return Found(name, expected.parameters, phase, expected.peak_host_bytes, cost.peak_host_bytes)


def table(found: Sequence[Found]) -> str:
    """Markdown."""
    worst, least = max(one.ratio for one in found), min(one.ratio for one in found)
    lines = [
        f"Made {datetime.now(UTC):%Y-%m-%d} by `python -m benchmarks.preflight`: {platform.machine()},"
        f" {os.cpu_count()} cores, Python {platform.python_version()}, torch {version('torch')}; bfloat16"
        f" {'is' if has_fast_bfloat16() else 'is not'} native. Expected over measured: {least:.2f} to {worst:.2f}.",
        "",
        "| job | weights | highest while | expected MB | measured MB | ratio |",
        "| --- | ---: | --- | ---: | ---: | ---: |",
    ]
    for one in found:
        numbers = f"{one.expected >> 20:,} | {one.measured >> 20:,} | {one.ratio:.2f}"
        lines.append(f"| {one.name} | {one.parameters / 1e6:.1f} M | {one.phase} | {numbers} |")
    return "\n".join(lines)


def put(text: str, page: Path) -> None:
    """Replaces what is between the page's two marks."""
    before, _, rest = page.read_text(encoding="utf-8").partition(f"<!-- {MARK} -->\n")
    _, _, after = rest.partition(f"<!-- /{MARK} -->")
    page.write_text(f"{before}<!-- {MARK} -->\n{text}\n<!-- /{MARK} -->{after}", encoding="utf-8")


def main() -> int:
    arguments = argparse.ArgumentParser(prog="python -m benchmarks.preflight")
    arguments.add_argument("--out", type=Path, help="the Markdown file whose table is replaced")
    arguments.add_argument("--case", action="append", choices=sorted(CASES), help="may be repeated; default: all")
    given = arguments.parse_args()
    found = []
    for name in given.case or CASES:
        found.append(compare(name, CASES[name]))
        print(f"{name}: {found[-1].expected >> 20} / {found[-1].measured >> 20} MB = {found[-1].ratio:.2f}", flush=True)
    print(table(found))
    if given.out is not None:
        put(table(found), given.out)
    return 0 if all(1 <= one.ratio <= UPPER for one in found) else 1


if __name__ == "__main__":
    sys.exit(main())
