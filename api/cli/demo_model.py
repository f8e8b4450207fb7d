"""The demo's model, the model retrained without the forget set, and their records: made once and cached.

The cache's folder is named by a digest of everything that the models are made from.
"""

import hashlib
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from rich.console import Console

from api.cli.child import ChildFailed, child_events
from api.cli.service import StartFailed
from api.cli.training_processes import Training, run_trainings, threads_for
from api.client import NotFound, UnlearningClient
from core.demo.people import demo_sets, write_jsonl
from core.evaluation import code_version
from core.schema.evaluation import SetName
from core.schema.events import Measured
from core.schema.files import Purpose
from core.schema.job_spec import FileRecords, MeasureSpec
from core.schema.model_shape import read_shape
from core.schema.models import Model
from core.schema.record import Record
from core.unlearning.eval_tokenization import default_eval_settings

REGISTRATION_SECONDS = 600


@dataclass(frozen=True)
class DemoSetup:
    """The models and files of one demo.

    `model` has memorised the forget and retain sets; `retrained` never saw the forget set. Both are made by the demo
    called `name`; for a model of the user's own, `retrained` and `name` are None.
    """

    model: Path
    retrained: Path | None
    forget: Path
    retain: Path
    unseen: Path
    name: str | None = None

    @property
    def model_id(self) -> str:
        """The id that the model is registered under."""
        return self.name or self.model.name


def source_digest(*modules: str) -> str:
    """Returns the sha256 of the modules' source and of the library versions that decide what they compute."""
    hashed = hashlib.sha256(f"torch {version('torch')} transformers {version('transformers')}".encode())
    for module in modules:
        spec = find_spec(module)
        if spec is None or spec.origin is None:
            raise ModuleNotFoundError(module)
        hashed.update(Path(spec.origin).read_bytes())
    return hashed.hexdigest()


def prepare_demo(folder: Path, *, forget: int, retain: int, unseen: int, seed: int, console: Console) -> DemoSetup:
    """Writes so many records of each set and trains both models, unless they are cached. Raises ChildFailed."""
    recipe = {"forget": forget, "retain": retain, "unseen": unseen, "seed": seed}
    code = source_digest("core.demo.people", "core.demo.pretraining", "core.demo.training")
    cache = cache_folder(folder, [recipe, code])
    files = write_sets(cache, demo_sets(forget=forget, retain=retain, unseen=unseen, seed=seed))
    tokenizer_records = [argument for file in files.values() for argument in ("--tokenizer-records", str(file))]

    def training(title: str, name: str, records: list[SetName]) -> Training:
        arguments = ["core.demo.pretraining", "--seed", str(seed), "--threads", str(threads_for(2)), *tokenizer_records]
        arguments += [argument for each in records for argument in ("--records", str(files[each]))]
        return Training(title, cache / name, arguments)

    model = training("training a small model", "model", ["forget", "retain"])
    retrained = training("retraining without them", "retrained", ["retain"])
    run_trainings([model, retrained], console)
    return DemoSetup(model.directory, retrained.directory, files["forget"], files["retain"], files["unseen"], "demo")


def cache_folder(folder: Path, made_from: list[Any]) -> Path:
    """Returns the folder below `folder` that is named by a digest of everything that the models are made from."""
    cache = folder / hashlib.sha256(json.dumps(made_from, sort_keys=True).encode()).hexdigest()[:16]
    cache.mkdir(parents=True, exist_ok=True)
    return cache


def write_sets(folder: Path, sets: Mapping[SetName, Sequence[Record]]) -> dict[SetName, Path]:
    """Writes each set as a JSON Lines file and returns the files."""
    files = {name: folder / f"{name}.jsonl" for name in sets}
    for name, records in sets.items():
        write_jsonl(records, files[name])
    return files


def register_model(client: UnlearningClient, setup: DemoSetup) -> str:
    """Registers the demo's model, once, with its retain and unseen files as defaults; returns the model's id.

    Raises StartFailed where a model of that id has another source, or the registration fails.
    """
    files: dict[Purpose, Path] = {"retain": setup.retain, "unseen": setup.unseen}
    return _register(client, setup, setup.model_id, setup.model, files)


def register_retrained(client: UnlearningClient, setup: DemoSetup) -> str | None:
    """Registers the retrained model, once, so that jobs can name it; returns its id, or None where there is none.

    Raises StartFailed as `register_model` does.
    """
    if setup.retrained is None:
        return None
    return _register(client, setup, f"{setup.model_id}-retrained", setup.retrained, {})


def _register(
    client: UnlearningClient, setup: DemoSetup, name: str, source: Path, files: Mapping[Purpose, Path]
) -> str:
    registered = _find(client, name)
    if registered is not None and registered.source != str(source):
        if setup.name is None or f"/models/{setup.name}/" not in registered.source:
            raise StartFailed(f"a model {name} of another source is registered: delete it, or rename the directory")
        client.models.delete(name)  # an earlier demo's, of other people
        registered = None
    if registered is None:
        defaults = {purpose: client.files.upload(file, purpose).id for purpose, file in files.items()}
        client.models.register({"id": name, "source": str(source), "defaults": defaults})
    model = client.models.wait(name, seconds=REGISTRATION_SECONDS)
    if model.status != "ready":
        raise StartFailed(f"the model is {model.status}: {model.error}")
    return name


def _find(client: UnlearningClient, name: str) -> Model | None:
    try:
        return client.models.get(name)
    except NotFound:
        return None


def measure_model(setup: DemoSetup, model: Path, *, cache: Path) -> dict[str, Any]:
    """Returns a job's standard measurements of a model on the demo's files, kept in `cache`. Raises ChildFailed."""
    spec = MeasureSpec(
        job="unlearn-demo",
        model=model.name,
        directory=model,
        training=default_eval_settings(read_shape(model.resolve(), root=Path(model.resolve().anchor))),
        records=FileRecords(forget=setup.forget, retain=[setup.retain], unseen=setup.unseen),
    )
    weights = hashlib.sha256((model / "model.safetensors").read_bytes()).hexdigest()
    inputs = json.dumps([spec.model_dump_json(), code_version.digest(), code_version.libraries(), weights]).encode()
    file = cache / f"{hashlib.sha256(inputs).hexdigest()[:16]}.json"
    if not file.exists():
        for event in child_events(spec):
            if isinstance(event, Measured):
                cache.mkdir(parents=True, exist_ok=True)
                file.write_text(event.measurements.model_dump_json())
    measurements: dict[str, Any] = json.loads(file.read_text())
    return measurements


def continue_record(model: Path, records: Path, index: int) -> dict[str, str]:
    """Returns the model's greedy continuation of a record's first part: `{"prefix", "truth", "continuation"}`."""
    command = [
        sys.executable,
        "-m",
        "core.evaluation.generation.terminal",
        "--model",
        str(model),
        "--records",
        str(records),
    ]
    process = subprocess.run([*command, "--index", str(index)], capture_output=True, text=True, check=False)  # noqa: S603
    if process.returncode != 0:
        raise ChildFailed(f"generation ended with code {process.returncode}")
    result: dict[str, str] = json.loads(process.stdout.splitlines()[-1])
    return result
