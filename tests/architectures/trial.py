"""The steps that are tried for one variant, in a process of its own."""

import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerBase

from core.lm.errors import CoreError
from core.lm.forward import Forward
from core.lm.model import load
from tests.architectures import configs, exactness, jobs, texts
from tests.architectures.models import NotBuilt, build_model
from tests.architectures.row import Row
from tests.architectures.variants import Variant

LEAK = 1e-3


def try_variant(variant: Variant, steps: frozenset[str], folder: Path, report: Callable[[Row], None]) -> Row:
    """Tries the variant and returns its row. `report` gets the row after each step, so that a crash loses no result."""
    start = time.monotonic()
    row = Row(variant.name, variant.label, configs.architecture(variant.name))
    try:
        _try_steps(row, variant, steps, folder, report)
    except CoreError as error:
        row.status = "refused"
        row.note(f"{error.code}: {error.message}")
    row.seconds = round(time.monotonic() - start, 1)
    report(row)
    return row


def _try_steps(row: Row, variant: Variant, steps: frozenset[str], folder: Path, report: Callable[[Row], None]) -> None:
    directory = folder / "model"
    try:
        built = build_model(variant)
        built.save_pretrained(directory)
        texts.tokenizer().save_pretrained(directory)
        reference = AutoModelForCausalLM.from_pretrained(directory).eval()
        difference = _difference(built, reference)
        if difference > 1e-4:
            row.note(f"transformers loads what it saved as another model (logits off by {difference:.2g})")
    except NotBuilt as error:
        row.status = "not built"
        row.note(str(error))
        return
    except Exception as error:  # noqa: BLE001 - transformers' own saving and loading
        row.status = "not built"
        row.note(f"transformers does not save and load it: {_described(error)}")
        return
    _convert_config_to_4(directory, reference)
    if "exactness" in steps:
        _exact(row, directory, reference, report)
    del reference, built
    if row.status == "exact" or not row.log_probability:
        if "job" in steps:
            row.job = _job(row, "job", directory, folder / "job" / "export", folder / "job.npz")
            report(row)
        if "adapter" in steps and row.job in ("", "done"):
            _adapter(row, directory, folder, report)


def _convert_config_to_4(directory: Path, reference: PreTrainedModel) -> None:
    """Writes config.json in transformers 4's form, if transformers 5 reads the same model from it."""
    path = directory / "config.json"
    before = path.read_text()
    try:
        if jobs.write_legacy_config(directory):
            reloaded = AutoModelForCausalLM.from_pretrained(directory).eval()
            if _difference(reference, reloaded) == 0.0:
                return
    except Exception:  # noqa: BLE001 - a form that this architecture never had
        pass
    path.write_text(before)


def _job(row: Row, name: str, directory: Path, output: Path, figures: Path, **options: Any) -> str:
    """Runs a job and returns its outcome; the core's figures of its export are written to `figures`."""
    output.parent.mkdir(parents=True, exist_ok=True)
    try:
        jobs.run(directory, output, **options)
        if options.get("deliver") != "adapter":
            np.savez(figures, *jobs.core_log_probabilities(output))
    except CoreError as error:
        return f"refused: {error.code}"
    except Exception as error:  # noqa: BLE001 - crashes are the tests' subject
        row.fail("crashed", f"{name}: {_described(error)}")
        return "crashed"
    return "done"


def _adapter(row: Row, directory: Path, folder: Path, report: Callable[[Row], None]) -> None:
    row.adapter = _job(row, "adapter job", directory, folder / "merged" / "export", folder / "merged.npz", lora=True)
    report(row)
    if row.adapter == "done":
        alone = folder / "alone" / "export"
        row.adapter = _job(row, "adapter job", directory, alone, folder / "none", lora=True, deliver="adapter")


def _difference(built: PreTrainedModel, loaded: PreTrainedModel) -> float:
    ids = torch.tensor([texts.ids(40, 9)])
    with torch.no_grad():
        return float((exactness.plain_logits(built, ids) - exactness.plain_logits(loaded, ids)).abs().max())


def _exact(row: Row, directory: Path, reference: PreTrainedModel, report: Callable[[Row], None]) -> None:
    try:
        model, tokenizer = load(directory, device=torch.device("cpu"))
    except CoreError:
        raise
    except Exception as error:  # noqa: BLE001 - crashes are the tests' subject
        row.fail("crashed", f"load: {_described(error)}")
        return
    model.requires_grad_(False)
    reference.requires_grad_(False)
    in_float64 = _convert_to_float64(reference, row)
    if in_float64:
        model.double()
    leak = exactness.lookahead_change(reference)
    chunks = texts.chunks()
    expected = exactness.log_probabilities(reference, chunks).detach()
    forward = _step(row, "forward", lambda: Forward(model))
    if forward is None:
        return
    row.how = exactness.layout_name(forward, chunks)
    if leak > LEAK:
        row.fail("off", f"not causal (a later token changes earlier logits by {leak:.2g}), and not refused")
        return
    limit = exactness.LOG_PROBABILITY if in_float64 else 1e-3
    row.log_probability = _step(
        row, "log-probabilities", lambda: exactness.log_probability_difference(forward, expected, chunks)
    )
    if row.log_probability is not None and row.log_probability > limit:
        row.fail("off", f"log-probabilities off by {row.log_probability:.2g}")
    report(row)
    row.gradient = _step(row, "gradients", lambda: exactness.gradient_difference(forward, reference, chunks))
    if row.gradient is not None and row.gradient > (exactness.GRADIENT if in_float64 else 1e-3):
        row.fail("off", f"gradients off by {row.gradient:.2g}")
    report(row)
    _compare_continuations(row, model, tokenizer, reference)


def _compare_continuations(
    row: Row, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, reference: PreTrainedModel
) -> None:
    allowed, notes = exactness.expected_continuations(reference)
    row.notes += notes
    different = _step(row, "continuation", lambda: exactness.count_other_continuations(model, tokenizer, allowed))
    if different is None:
        row.continuation = "crashed"
        return
    count = len(texts.PROMPTS)
    row.continuation = f"{count - different} of {count}"
    if different:
        row.fail("off", f"{different} of {count} prompts continued otherwise")


def _convert_to_float64(reference: PreTrainedModel, row: Row) -> bool:
    """Converts the reference to float64 and returns True, if the model runs in it; else leaves it in float32."""
    reference.double()
    try:
        with torch.no_grad():
            logits = exactness.plain_logits(reference, torch.tensor([texts.ids(12, 3)]))
    except Exception:  # noqa: BLE001 - a model that mixes precisions
        converted = False
    else:
        converted = logits.dtype == torch.float64
    if not converted:
        reference.float()
        row.note("in float32: the model itself does not run in float64")
    return converted


def _step(row: Row, name: str, work: Callable[[], Any]) -> Any:
    """Does the work and returns its result; None where it crashes, which the row notes. Refusals by name are raised."""
    try:
        return work()
    except CoreError:
        raise
    except Exception as error:  # noqa: BLE001 - crashes are the tests' subject
        row.fail("crashed", f"{name}: {_described(error)}")
        return None


def _described(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    core_frame = next((frame for frame in reversed(frames) if "/core/" in frame.filename), None)
    places = [f"{Path(frame.filename).name}:{frame.lineno}" for frame in (core_frame, frames[-1]) if frame is not None]
    return f"{type(error).__name__}: {str(error)[:160]} ({', '.join(dict.fromkeys(places))})".replace("\n", " ")
