"""Models that know a benchmark's forget and retain sets by heart, and models retrained on the retain set only.

    python -m benchmarks.memorised --data demo --data tofu --data lume --seed 0 --seed 1 --folder DIR --public DIR

Small models are trained from scratch, or a pre-trained model is fine-tuned. Models and files that are in the folder
already are kept.
"""

import argparse
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.datasets import PEOPLE_TO_FORGET, Sets, load_few, load_sets
from core.demo.people import write_jsonl
from core.demo.pretraining import Architecture
from core.schema.model_shape import read_shape
from core.schema.training import Training, TrainingRequest
from core.unlearning.objectives import fill_training

EPOCHS = {"demo": 20, "demo-50": 40, "demo-500": 20, "tofu": 24, "lume": 24, **dict.fromkeys(PEOPLE_TO_FORGET, 20)}
KNOWN_BEFORE = "pretraining"
"""The benchmark whose records a pre-trained model knows already: nothing is trained, and no model is retrained."""


@dataclass(frozen=True)
class TrainedModels:
    """A benchmark of a seed: the files of its sets, the model that knows them, and the retrained model."""

    folder: Path
    known_before: Path | None = None
    """A pre-trained model that knows the records already; None: the model was trained on them."""

    @property
    def model(self) -> Path:
        return self.known_before or self.folder / "model"

    @property
    def retrained(self) -> Path:
        """The model that never saw the forget set; nothing lies there where pre-training taught it."""
        return self.folder / "retrained"

    def file(self, name: str) -> Path:
        return self.folder / f"{name}.jsonl"

    def training(self, method: str, *, forget_records: int, seed: int) -> Training:
        """Returns the settings that the service fills in for a job on the model, without snapshots."""
        shape = read_shape(self.model, root=self.model)
        request = TrainingRequest(seed=seed)
        filled = fill_training(request, method, parameters=shape.parameters, forget_records=forget_records)
        length = shape.within_context(filled.max_length)
        return filled.model_copy(update={"max_length": length, "snapshot_every": 0})


class TrainingFailed(Exception):
    """The process that trains a model failed; its output is on the terminal already."""


def prepare_models(
    data: str,
    seed: int,
    folder: Path,
    public: Path,
    *,
    architecture: Architecture = "llama",
    threads: int | None = None,
) -> TrainedModels:
    """Writes the sets and trains both small models, unless they exist. Raises DataMissing, TrainingFailed."""
    models = TrainedModels((folder / data / str(seed)).resolve())
    _write(models, load_sets(data, seed, public))
    recipe = ["core.demo.pretraining", "--epochs", str(EPOCHS[data]), "--architecture", architecture]
    for name in ("forget", "retain", "unseen"):
        recipe += ["--tokenizer-records", str(models.file(name))]
    _train_both(models, recipe, data, seed, threads)
    return models


def tune_models(
    data: str, seed: int, folder: Path, public: Path, *, pretrained: Path, threads: int | None = None
) -> TrainedModels:
    """Writes smaller sets and fine-tunes both models, unless they exist. Raises DataMissing, TrainingFailed.

    What pre-training taught the model needs no fine-tuning.
    """
    known_before = pretrained.resolve() if data == KNOWN_BEFORE else None
    models = TrainedModels((folder / data / str(seed)).resolve(), known_before)
    _write(models, load_few(data, seed, public))
    if known_before is None:
        _train_both(models, ["core.demo.fine_tuning", "--model", str(pretrained)], data, seed, threads)
    return models


def _write(models: TrainedModels, sets: Sets) -> None:
    models.folder.mkdir(parents=True, exist_ok=True)
    for name, records in sets.items():
        write_jsonl(records, models.file(name))


def _train_both(models: TrainedModels, recipe: list[str], data: str, seed: int, threads: int | None) -> None:
    for name, sets in (("model", ["forget", "retain"]), ("retrained", ["retain"])):
        out = models.folder / name
        if not (out / "config.json").exists():
            records = [part for each in sets for part in ("--records", str(models.file(each)))]
            limit = [] if threads is None else ["--threads", str(threads)]
            _train(out, [*recipe, *records, "--seed", str(seed), *limit], f"{data}, seed {seed}")


def _train(out: Path, program: list[str], title: str) -> None:
    unfinished = out.with_name(f".{out.name}")
    shutil.rmtree(unfinished, ignore_errors=True)
    began = time.monotonic()
    command = [sys.executable, "-m", *program, "--out", str(unfinished)]
    done = subprocess.run(command, stdout=subprocess.DEVNULL, check=False)  # noqa: S603 - ourselves
    if done.returncode != 0:
        raise TrainingFailed(f"{title}: training {out.name} ended with code {done.returncode}")
    unfinished.rename(out)
    print(f"{title}: {out.name} trained in {time.monotonic() - began:.0f} s", file=sys.stderr)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.memorised")
    parser.add_argument("--data", choices=sorted(EPOCHS), action="append", required=True)
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
