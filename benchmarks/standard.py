"""What each measurement of `standard` costs: `python -m benchmarks.standard --shape "4M, 2k" --records 40`.

    git worktree add /tmp/earlier COMMIT
    python -m benchmarks.standard --beside /tmp/earlier --out docs/benchmarks.md

A model with random weights is measured as after a job. Costs are the tokens that go through the model and the seconds
of the processor, which other programs on the machine disturb little. `--beside` measures another checkout of this
project in the same run.
"""

import argparse
import json
import os
import shlex
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

REPOSITORY = Path(__file__).parent.parent
Costs = dict[str, tuple[int, float]]
"""Tokens and processor seconds by measurement."""


def measure_costs(shape: str, records: int) -> Costs:
    """Returns the costs of each measurement of `standard` on so many records of each set, of 60 to 75 tokens."""
    import torch

    from benchmarks.random_models import SHAPES, write_model
    from core.demo.people import people
    from core.evaluation.eval_context import EvalContext
    from core.evaluation.measurements import resolve_measurements
    from core.evaluation.runner import measure_model
    from core.lm.flops import METER
    from core.lm.model import load
    from core.schema.evaluation import SetName
    from core.schema.record import Record
    from core.schema.training import TrainingRequest
    from core.unlearning.objectives import fill_training

    torch.set_num_threads(1)
    texts = [record.text or "" for record in people(6 * records, 1)]
    sets: dict[SetName, list[Record]] = {}
    names: tuple[SetName, ...] = ("forget", "unseen", "retain")
    for number, name in enumerate(names):
        own = texts[2 * number * records : 2 * (number + 1) * records]
        sets[name] = [Record(text=f"{first} {second}") for first, second in zip(own[::2], own[1::2], strict=True)]
    costs: Costs = {}
    with tempfile.TemporaryDirectory() as folder:
        directory = write_model(SHAPES[shape], Path(folder) / "model")
        parameters = sum(file.stat().st_size for file in directory.glob("*.safetensors")) // 2
        training = fill_training(TrainingRequest(), "calibrated", parameters=parameters, forget_records=records)

        def context() -> EvalContext:
            loaded = load(directory, "auto", device=torch.device("cpu"))
            return EvalContext(
                lambda: loaded, sets, training=training, moment="after", original_directory=directory, loaded=loaded
            )

        measured, original = context(), context()
        measured.original = original
        before = measure_model(original, resolve_measurements(["likelihood"]), model_digest="0" * 64)
        for measurement in resolve_measurements(["standard"]):
            began, read = time.process_time(), METER.reading.tokens
            measure_model(measured, [measurement], model_digest="1" * 64, original=before)
            costs[measurement.name] = METER.reading.tokens - read, time.process_time() - began
    return costs


def costs_in_child(shape: str, records: int, checkout: Path) -> Costs:
    """Returns the costs by the code of a checkout, measured in a process of its own."""
    # -P: the folder of this file is no place to import from
    command = [sys.executable, "-P", str(Path(__file__).resolve()), "--child", "--shape", shape]
    done = subprocess.run(  # noqa: S603 - our own program
        [*command, "--records", str(records)],
        capture_output=True,
        text=True,
        check=True,
        cwd=checkout,
        env={**os.environ, "PYTHONPATH": str(checkout.resolve()), "OMP_NUM_THREADS": "1"},
    )
    return {name: (int(tokens), float(seconds)) for name, (tokens, seconds) in json.loads(done.stdout).items()}


def cost_rows(now: Costs, earlier: Costs | None) -> list[str]:
    """Returns Markdown: a row for each measurement that takes a hundredth of all seconds or more, and one for all.

    A row has tokens and seconds, those of `earlier` first, and the ratio of the seconds.
    """
    compared = [costs for costs in (earlier, now) if costs is not None]
    least = sum(seconds for _, seconds in compared[0].values()) / 100
    shown = [name for name in now if any(costs.get(name, (0, 0.0))[1] >= least for costs in compared)]
    rows = []
    for label, members in [*((name, [name]) for name in shown), ("all", list(now))]:
        sums = [
            (sum(costs[name][0] for name in members), sum(costs[name][1] for name in members))
            for costs in ({name: costs.get(name, (0, 0.0)) for name in members} for costs in compared)
        ]
        cells = [label, *(f"{tokens:,} | {seconds:.1f}" for tokens, seconds in sums)]
        if earlier is not None:
            cells.append(f"{sums[1][1] / sums[0][1]:.2f}" if sums[0][1] else "–")
        rows.append(f"| {' | '.join(cells)} |")
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.standard")
    parser.add_argument("--shape", action="append", help="of benchmarks.random_models; default: '4M, 2k'")
    parser.add_argument("--records", type=int, default=40, help="of each set; default: 40")
    parser.add_argument("--beside", type=Path, help="another checkout of this project, to compare with")
    parser.add_argument("--out", type=Path, help="the Markdown file whose table is replaced")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    shapes = arguments.shape or ["4M, 2k"]
    if arguments.child:
        print(json.dumps(measure_costs(shapes[0], arguments.records)))
        return
    from benchmarks.generated_page import replace_section
    from benchmarks.machine import cpu_of_machine

    command = shlex.join(["python", "-m", "benchmarks.standard", *sys.argv[1:]])
    lines = [f"Made {datetime.now(UTC):%Y-%m-%d} by `{command}`: {cpu_of_machine().description()}, one thread."]
    for shape in shapes:
        now = costs_in_child(shape, arguments.records, REPOSITORY)
        earlier = costs_in_child(shape, arguments.records, arguments.beside) if arguments.beside else None
        heads = "tokens | CPU s" if earlier is None else "tokens before | CPU s | tokens now | CPU s | ratio"
        rule = "---: |" * heads.count("|")
        lines += ["", f"| {shape} | {heads} |", f"| --- | {rule} ---: |"]
        lines += cost_rows(now, earlier)
        print("\n".join(lines), file=sys.stderr, flush=True)
    text = "\n".join(lines)
    print(text)
    if arguments.out is not None:
        replace_section(arguments.out, "standard", text)


if __name__ == "__main__":
    main()
