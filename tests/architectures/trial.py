"""Everything that is tried of one variant, in a process of its own."""

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
from tests.architectures.models import NotBuilt, build
from tests.architectures.row import Row
from tests.architectures.variants import Variant

LEAK = 1e-3


def tried(variant: Variant, steps: frozenset[str], folder: Path, report: Callable[[Row], None]) -> Row:
    """The variant's row; `report` gets it as it grows, so that a process that dies leaves what it found."""
    began = time.monotonic()
    row = Row(variant.name, variant.label, configs.architecture(variant.name))
    try:
        _tried(row, variant, steps, folder, report)
    except CoreError as error:
        row.status = "refused"
        row.note(f"{error.code}: {error.message}")
    row.seconds = round(time.monotonic() - began, 1)
    report(row)
    return row


def _tried(row: Row, variant: Variant, steps: frozenset[str], folder: Path, report: Callable[[Row], None]) -> None:
    directory = folder / "model"
    try:
        built = build(variant)
        built.save_pretrained(directory)
        texts.tokenizer().save_pretrained(directory)
        reference = AutoModelForCausalLM.from_pretrained(directory).eval()
        same = _difference(built, reference)
        if same > 1e-4:
            row.note(f"transformers loads what it saved as another model (logits off by {same:.2g})")
    except NotBuilt as error:
        row.status = "not built"
        row.note(str(error))
        return
    except Exception as error:  # noqa: BLE001 - transformers' own saving and loading
        row.status = "not built"
        row.note(f"transformers does not save and load it: {_said(error)}")
        return
    _as_of_4(directory, reference)
    if "exactness" in steps:
        _exact(row, directory, reference, report)
    del reference, built
    if row.status == "exact" or not row.log_probability:
        if "job" in steps:
            row.job = _job(row, "job", directory, folder / "job" / "export", folder / "job.npz")
            report(row)
        if "adapter" in steps and row.job in ("", "done"):
            _adapter(row, directory, folder, report)


def _as_of_4(directory: Path, reference: PreTrainedModel) -> None:
    """Has config.json in transformers 4's form, where transformers 5 reads the same from it."""
    path = directory / "config.json"
    before = path.read_text()
    try:
        if jobs.legacy(directory):
            again = AutoModelForCausalLM.from_pretrained(directory).eval()
            if _difference(reference, again) == 0.0:
                return
    except Exception:  # noqa: BLE001 - a form that it never had
        pass
    path.write_text(before)


def _job(row: Row, name: str, directory: Path, output: Path, figures: Path, **options: Any) -> str:
    """What became of a job; what the core says of its export is left in `figures`."""
    output.parent.mkdir(parents=True, exist_ok=True)
    try:
        jobs.run(directory, output, **options)
        if options.get("deliver") != "adapter":
            np.savez(figures, *jobs.core_log_probabilities(output))
    except CoreError as error:
        return f"refused: {error.code}"
    except Exception as error:  # noqa: BLE001 - a crash is what is looked for
        row.fail("crashed", f"{name}: {_said(error)}")
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
        return float((exactness.plain(built, ids) - exactness.plain(loaded, ids)).abs().max())


def _exact(row: Row, directory: Path, reference: PreTrainedModel, report: Callable[[Row], None]) -> None:
    try:
        model, tokenizer = load(directory, device=torch.device("cpu"))
    except CoreError:
        raise
    except Exception as error:  # noqa: BLE001 - a crash is what is looked for
        row.fail("crashed", f"load: {_said(error)}")
        return
    model.requires_grad_(False)
    reference.requires_grad_(False)
    wide = _wide(reference, row)
    if wide:
        model.double()
    ahead = exactness.looks_ahead(reference)
    chunks = texts.chunks()
    wanted = exactness.log_probabilities(reference, chunks).detach()

    def forward_of() -> Forward:
        return Forward(model)

    forward = _step(row, "forward", forward_of)
    if forward is None:
        return
    row.how = exactness.how(forward, chunks)
    if ahead > LEAK:
        row.fail("off", f"not causal (a later token changes earlier logits by {ahead:.2g}), and not refused")
        return
    limit = exactness.LOG_PROBABILITY if wide else 1e-3
    row.log_probability = _step(
        row, "log-probabilities", lambda: exactness.log_probability_difference(forward, wanted, chunks)
    )
    if row.log_probability is not None and row.log_probability > limit:
        row.fail("off", f"log-probabilities off by {row.log_probability:.2g}")
    report(row)
    row.gradient = _step(row, "gradients", lambda: exactness.gradient_difference(forward, reference, chunks))
    if row.gradient is not None and row.gradient > (exactness.GRADIENT if wide else 1e-3):
        row.fail("off", f"gradients off by {row.gradient:.2g}")
    report(row)
    _continues(row, model, tokenizer, reference)


def _continues(
    row: Row, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, reference: PreTrainedModel
) -> None:
    allowed, notes = exactness.continuations(reference)
    row.notes += notes
    off = _step(row, "continuation", lambda: exactness.continued_otherwise(model, tokenizer, allowed))
    if off is None:
        row.continuation = "crashed"
        return
    count = len(texts.PROMPTS)
    row.continuation = f"{count - off} of {count}"
    if off:
        row.fail("off", f"{off} of {count} prompts continued otherwise")


def _wide(reference: PreTrainedModel, row: Row) -> bool:
    """Whether the model runs in float64; the reference does, then."""
    reference.double()
    try:
        with torch.no_grad():
            logits = exactness.plain(reference, torch.tensor([texts.ids(12, 3)]))
    except Exception:  # noqa: BLE001 - a model that mixes precisions
        wide = False
    else:
        wide = logits.dtype == torch.float64
    if not wide:
        reference.float()
        row.note("in float32: the model itself does not run in float64")
    return wide


def _step(row: Row, name: str, work: Callable[[], Any]) -> Any:
    """What the work gives; None where it crashes, which the row says. Refusals by name go on."""
    try:
        return work()
    except CoreError:
        raise
    except Exception as error:  # noqa: BLE001 - a crash is what is looked for
        row.fail("crashed", f"{name}: {_said(error)}")
        return None


def _said(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    ours = next((frame for frame in reversed(frames) if "/core/" in frame.filename), None)
    places = [f"{Path(frame.filename).name}:{frame.lineno}" for frame in (ours, frames[-1]) if frame is not None]
    return f"{type(error).__name__}: {str(error)[:160]} ({', '.join(dict.fromkeys(places))})".replace("\n", " ")
