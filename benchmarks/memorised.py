"""Small models that know a benchmark's forget and retain sets by heart, and models retrained on the retain set only.

    python -m benchmarks.memorised --data demo --data tofu --data lume --seed 0 --seed 1 --folder DIR --public DIR

Models and files that are in the folder already are kept.
"""

import argparse
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.datasets import FILES, load_sets
from core.demo.people import write_jsonl
from core.schema.model_shape import read_shape
from core.schema.training import Training, TrainingRequest
from core.unlearning.objectives import fill_training

EPOCHS = {"demo": 20, "demo-500": 20, "tofu": 24, "lume": 24}


@dataclass(frozen=True)
class TrainedModels:
    """A benchmark of a seed: the files of its sets, the model that knows them, and the retrained model."""

    folder: Path

    @property
    def model(self) -> Path:
        return self.folder / "model"

    @property
    def retrained(self) -> Path:
        return self.folder / "retrained"

    def file(self, name: str) -> Path:
        return self.folder / f"{name}.jsonl"

    def training(self, method: str, *, forget_records: int, seed: int) -> Training:
        """Returns the settings that the service fills in for a job on the model, without snapshots."""
        shape = read_shape(self.model, root=self.folder)
        request = TrainingRequest(seed=seed)
        filled = fill_training(request, method, parameters=shape.parameters, forget_records=forget_records)
        length = shape.within_context(filled.max_length)
        return filled.model_copy(update={"max_length": length, "snapshot_every": 0})


class TrainingFailed(Exception):
    """The process that trains a small model failed; its output is on the terminal already."""


def prepare_models(data: str, seed: int, folder: Path, public: Path, *, threads: int | None = None) -> TrainedModels:
    """Writes the sets and trains both models, unless they exist. Raises DataMissing, TrainingFailed."""
    models = TrainedModels((folder / data / str(seed)).resolve())
    models.folder.mkdir(parents=True, exist_ok=True)
    for name, records in load_sets(data, seed, public).items():
        write_jsonl(records, models.file(name))
    _train(models, models.model, ["forget", "retain"], data, seed, threads)
    _train(models, models.retrained, ["retain"], data, seed, threads)
    return models


def _train(models: TrainedModels, out: Path, names: list[str], data: str, seed: int, threads: int | None) -> None:
    if (out / "config.json").exists():
        return
    unfinished = out.with_name(f".{out.name}")
    shutil.rmtree(unfinished, ignore_errors=True)
    command = [sys.executable, "-m", "core.demo.pretraining", "--out", str(unfinished), "--seed", str(seed)]
    command += ["--epochs", str(EPOCHS[data])]
    command += [part for name in names for part in ("--records", str(models.file(name)))]
    command += [
        part for name in ("forget", "retain", "unseen") for part in ("--tokenizer-records", str(models.file(name)))
    ]
    command += [] if threads is None else ["--threads", str(threads)]
    began = time.monotonic()
    done = subprocess.run(command, stdout=subprocess.DEVNULL, check=False)  # noqa: S603 - ourselves
    if done.returncode != 0:
        raise TrainingFailed(f"{data}, seed {seed}: training {out.name} ended with code {done.returncode}")
    unfinished.rename(out)
    print(f"{data}, seed {seed}: {out.name} trained in {time.monotonic() - began:.0f} s", file=sys.stderr)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.memorised")
    parser.add_argument("--data", choices=sorted(FILES), action="append", required=True)
    parser.add_argument("--seed", type=int, action="append", required=True)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--public", type=Path, default=Path("../shared/data"))
    parser.add_argument("--threads", type=int, default=None)
    arguments = parser.parse_args()
    for seed in arguments.seed:
        for data in arguments.data:
            prepare_models(data, seed, arguments.folder, arguments.public, threads=arguments.threads)


if __name__ == "__main__":
    main()
