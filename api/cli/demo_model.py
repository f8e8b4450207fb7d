"""The demo's people and the models that know them: made once, cached by the digest of what they are made from."""

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
from core.demo.people import demo_sets, write_jsonl
from core.evaluation import code_version
from core.schema.events import Measured
from core.schema.job_spec import FileRecords, JobSpec
from core.schema.model_shape import read_shape
from core.unlearning.eval_tokenization import default_eval_settings


@dataclass(frozen=True)
class DemoSetup:
    """One demo: a model that has memorised people, one that never saw those to forget, and the files of both."""

    model: Path
    retrained: Path | None
    forget: Path
    retain: Path
    unseen: Path


def source_digest(*modules: str) -> str:
    """The sha256 of the modules' source and of the versions that decide what they compute."""
    hashed = hashlib.sha256(f"torch {version('torch')} transformers {version('transformers')}".encode())
    for module in modules:
        spec = find_spec(module)
        if spec is None or spec.origin is None:
            raise ModuleNotFoundError(module)
        hashed.update(Path(spec.origin).read_bytes())
    return hashed.hexdigest()


def prepare_demo(folder: Path, *, forget: int, retain: int, unseen: int, seed: int, console: Console) -> DemoSetup:
    """Writes the people and trains both models, unless they are there already. ChildFailed where training fails."""
    recipe = {"forget": forget, "retain": retain, "unseen": unseen, "seed": seed}
    code = source_digest("core.demo.people", "core.demo.pretraining")
    name = hashlib.sha256(json.dumps([recipe, code], sort_keys=True).encode()).hexdigest()[:16]
    place = folder / name
    place.mkdir(parents=True, exist_ok=True)
    files = {one: place / f"{one}.jsonl" for one in ("forget", "retain", "unseen")}
    for one, records in demo_sets(forget=forget, retain=retain, unseen=unseen, seed=seed).items():
        write_jsonl(records, files[one])
    model = _trained(place / "model", [files["forget"], files["retain"]], [*files.values()], seed, console)
    retrained = _trained(place / "retrained", [files["retain"]], [*files.values()], seed, console)
    return DemoSetup(model, retrained, files["forget"], files["retain"], files["unseen"])


def _trained(directory: Path, records: list[Path], tokenizer: list[Path], seed: int, console: Console) -> Path:
    what = "training a small model" if directory.name == "model" else "retraining without them"
    if (directory / "config.json").exists():
        console.print(f"  {what}: cached")
        return directory
    unfinished = directory.with_name(f".{directory.name}")
    shutil.rmtree(unfinished, ignore_errors=True)
    command = [sys.executable, "-m", "core.demo.pretraining", "--out", str(unfinished), "--seed", str(seed)]
    command += [part for file in records for part in ("--records", str(file))]
    command += [part for file in tokenizer for part in ("--tokenizer-records", str(file))]
    began = time.monotonic()
    # what libraries say of themselves is of interest only where something goes wrong
    with progress_bar(console) as progress, tempfile.TemporaryFile("w+") as said:
        task = progress.add_task(what, total=None)
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=said, text=True) as child:  # noqa: S603
            for line in child.stdout or ():
                event = json.loads(line)
                if "step" in event:
                    progress.update(task, completed=event["step"], total=event["steps"])
        if child.returncode != 0:
            said.seek(0)
            raise ChildFailed(f"{what}: the process ended with code {child.returncode}: {last_lines(said.read())}")
    unfinished.rename(directory)
    console.print(f"  {what}: {time.monotonic() - began:.0f} s")
    return directory


def measure_model(story: DemoSetup, model: Path, *, cache: Path) -> dict[str, Any]:
    """What a job's standard measurements say of a model on the story's files; kept in `cache`. Raises ChildFailed."""
    spec = JobSpec(
        kind="measure",
        job="unlearn-demo",
        model=model.name,
        directory=model,
        training=default_eval_settings(read_shape(model.resolve(), root=Path(model.resolve().anchor))),
        records=FileRecords(forget=story.forget, retain=[story.retain], unseen=story.unseen),
        output=cache / "unused",
    )
    weights = hashlib.sha256((model / "model.safetensors").read_bytes()).hexdigest()
    made_of = json.dumps([spec.model_dump_json(), code_version.digest(), code_version.libraries(), weights]).encode()
    kept = cache / f"{hashlib.sha256(made_of).hexdigest()[:16]}.json"
    if not kept.exists():
        for event in child_events(spec):
            if isinstance(event, Measured):
                cache.mkdir(parents=True, exist_ok=True)
                kept.write_text(event.measurements.model_dump_json())
    result: dict[str, Any] = json.loads(kept.read_text())
    return result


def continue_record(model: Path, records: Path, index: int) -> dict[str, str]:
    """The model's greedy continuation of a record's first part: `{"prefix", "truth", "continuation"}`."""
    command = [
        sys.executable,
        "-m",
        "core.evaluation.generation.terminal",
        "--model",
        str(model),
        "--records",
        str(records),
    ]
    done = subprocess.run([*command, "--index", str(index)], capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode != 0:
        raise ChildFailed(f"generation ended with code {done.returncode}")
    result: dict[str, str] = json.loads(done.stdout.splitlines()[-1])
    return result
