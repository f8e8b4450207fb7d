"""Plain transformers, 5 or 4.57, in a process of its own: what whoever downloads a checkpoint gets from it."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Major = Literal[4, 5]

FOLDER = Path(sys.prefix) / "transformers-4"
"""Where `make .venv/transformers-4/installed` puts transformers 4.57, and what it needs that .venv has newer."""

SECONDS = 300

_LOGITS = """
import json, sys
import numpy, torch
from transformers import AutoModelForCausalLM

wish = json.loads(sys.argv[1])
torch.set_num_threads(1)
dtype = wish["dtype"] if wish["dtype"] == "auto" else getattr(torch, wish["dtype"])
model = AutoModelForCausalLM.from_pretrained(wish["directory"], dtype=dtype, attn_implementation=wish["attention"])
if wish["adapter"]:
    from peft import PeftModel
    model = PeftModel.from_pretrained(model, wish["adapter"])
model.eval()
with torch.no_grad():
    found = [model(input_ids=torch.tensor([row]), use_cache=False).logits[0].double().numpy() for row in wish["rows"]]
numpy.savez(wish["out"], *found)
"""


def run(script: str, *arguments: str, major: Major = 5, seconds: float = SECONDS) -> str:
    """Standard output of a Python script in a fresh process that has transformers 4.57 or 5, never this checkout.

    Raises AssertionError with the end of standard error where the script fails, or where 4.57 is not installed.
    """
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "PYTHONWARNINGS": "ignore"}
    environment.pop("PYTHONPATH", None)
    if major == 4:
        assert FOLDER.is_dir(), "transformers 4.57 is not there: run `make .venv/transformers-4/installed`"
        environment["PYTHONPATH"] = str(FOLDER)
    with tempfile.TemporaryDirectory() as elsewhere:
        finished = subprocess.run(
            [sys.executable, "-c", script, *arguments],
            cwd=elsewhere,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=seconds,
        )
    assert finished.returncode == 0, finished.stderr[-3000:]
    return finished.stdout


def logits(
    directory: Path,
    rows: Sequence[Sequence[int]],
    *,
    major: Major = 5,
    adapter: Path | None = None,
    dtype: Literal["float64", "float32", "bfloat16", "auto"] = "float32",
    attention: Literal["sdpa", "eager"] | None = None,
    seconds: float = SECONDS,
) -> list[NDArray[np.float64]]:
    """The logits (T, V) of each row of token ids, run alone, by the model in the directory (with `adapter` on it, by
    peft), as a fresh process loads it. `attention` None is what transformers chooses."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "logits.npz"
        wish: dict[str, Any] = {
            "directory": str(directory),
            "rows": [[int(token) for token in row] for row in rows],
            "adapter": None if adapter is None else str(adapter),
            "dtype": dtype,
            "attention": attention,
            "out": str(out),
        }
        run(_LOGITS, json.dumps(wish), major=major, seconds=seconds)
        with np.load(out) as found:
            return [found[f"arr_{number}"] for number in range(len(rows))]
