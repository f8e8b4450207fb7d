"""The demo's model, the model retrained without the forget set, and their records: made once and cached.

The cache's folder is named by a digest of everything that the models are made from.
"""

import hashlib
import json
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from rich.console import Console

from api.cli.child import ChildFailed, child_events, last_lines
from api.cli.progress import progress_bar
from api.cli.service import StartFailed
from api.client import Client
from core.demo.people import demo_sets, write_jsonl
from core.evaluation import code_version
from core.schema.events import Measured
from core.schema.job_spec import FileRecords, MeasureSpec
from core.schema.model_shape import read_shape
from core.unlearning.eval_tokenization import default_eval_settings

REGISTRATION_SECONDS = 600


@dataclass(frozen=True)
class DemoSetup:
    """The models and files of one demo.

    `model` has memorised the forget and retain sets; `retrained` never saw the forget set, and is None for a model of
    the user's own.
    """

    model: Path
    retrained: Path | None
    forget: Path
    retain: Path
    unseen: Path


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
    code = source_digest("core.demo.people", "core.demo.pretraining")
    cache = folder / hashlib.sha256(json.dumps([recipe, code], sort_keys=True).encode()).hexdigest()[:16]
    cache.mkdir(parents=True, exist_ok=True)
    files = {name: cache / f"{name}.jsonl" for name in ("forget", "retain", "unseen")}
    for name, records in demo_sets(forget=forget, retain=retain, unseen=unseen, seed=seed).items():
        write_jsonl(records, files[name])
    model = _train(cache / "model", [files["forget"], files["retain"]], [*files.values()], seed, console)
    retrained = _train(cache / "retrained", [files["retain"]], [*files.values()], seed, console)
    return DemoSetup(model, retrained, files["forget"], files["retain"], files["unseen"])


def _train(directory: Path, records: list[Path], tokenizer_records: list[Path], seed: int, console: Console) -> Path:
    task_name = "training a small model" if directory.name == "model" else "retraining without them"
    if (directory / "config.json").exists():
        console.print(f"  {task_name}: cached")
        return directory
    unfinished = directory.with_name(f".{directory.name}")
    shutil.rmtree(unfinished, ignore_errors=True)
    command = [sys.executable, "-m", "core.demo.pretraining", "--out", str(unfinished), "--seed", str(seed)]
    command += [argument for file in records for argument in ("--records", str(file))]
    command += [argument for file in tokenizer_records for argument in ("--tokenizer-records", str(file))]
    began = time.monotonic()
    # libraries' own messages are of interest only where training fails
    with progress_bar(console) as progress, tempfile.TemporaryFile("w+") as stderr:
        task = progress.add_task(task_name, total=None)
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr, text=True) as child:  # noqa: S603
            for line in child.stdout or ():
                event = json.loads(line)
                if "step" in event:
                    progress.update(task, completed=event["step"], total=event["steps"])
        if child.returncode != 0:
            stderr.seek(0)
            raise ChildFailed(
                f"{task_name}: the process ended with code {child.returncode}: {last_lines(stderr.read())}"
            )
    unfinished.rename(directory)
    console.print(f"  {task_name}: {time.monotonic() - began:.0f} s")
    return directory


def register_model(client: Client, setup: DemoSetup) -> str:
    """Registers the demo's model, once, with its retain and unseen files as defaults; returns the model's id.

    Raises StartFailed where a model of that id has another source, or the registration fails.
    """
    name = "demo" if setup.retrained is not None else setup.model.name
    registered = client.find(f"/v1/models/{name}")
    if registered is not None and registered["source"] != str(setup.model):
        if setup.retrained is None or "/models/demo/" not in registered["source"]:
            raise StartFailed(f"a model {name} of another source is registered: delete it, or rename the directory")
        client.delete(f"/v1/models/{name}")  # an earlier demo's, of other people
        registered = None
    if registered is None:
        files = {"retain": setup.retain, "unseen": setup.unseen}
        defaults = {purpose: client.upload(file, purpose)["id"] for purpose, file in files.items()}
        client.post("/v1/models", {"id": name, "source": str(setup.model), "defaults": defaults})
    deadline = time.monotonic() + REGISTRATION_SECONDS
    while (model := client.get(f"/v1/models/{name}"))["status"] == "fetching" and time.monotonic() < deadline:
        time.sleep(0.1)
    if model["status"] != "ready":
        raise StartFailed(f"the model is {model['status']}: {model['error']}")
    return name


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
