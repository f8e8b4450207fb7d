"""Plain transformers, 5 or 4.57, in processes of their own: what whoever downloads a checkpoint gets from it."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Major = Literal[4, 5]
Dtype = Literal["float64", "float32", "bfloat16", "auto"]
Logits = list[NDArray[np.float64]]

FOLDER = Path(sys.prefix) / "transformers-4"
"""Where `make .venv/transformers-4/installed` puts transformers 4.57, and what it needs that .venv has newer."""

PINNED = "4.57.6"
"""The version that tests/transformers-4.txt names."""

SECONDS = 300

_READER = """
import json, os, signal, sys, traceback
import numpy, torch, transformers
from transformers import AutoModelForCausalLM, CONFIG_MAPPING
torch.set_num_threads(1)
transformers.utils.logging.set_verbosity_error()
if json.loads(sys.argv[1]):
    import peft

def answer(wish):
    dtype = wish["dtype"] if wish["dtype"] == "auto" else getattr(torch, wish["dtype"])
    model = AutoModelForCausalLM.from_pretrained(wish["directory"], dtype=dtype)
    if wish["adapter"]:
        from peft import PeftModel
        model = PeftModel.from_pretrained(model, wish["adapter"])
    model.eval()
    with torch.no_grad():
        rows = [model(input_ids=torch.tensor([row]), use_cache=False).logits[0] for row in wish["rows"]]
    numpy.savez(wish["out"], *[row.double().numpy() for row in rows])

print(json.dumps(sorted(CONFIG_MAPPING.keys())), flush=True)
for line in sys.stdin:
    wish = json.loads(line)
    child = os.fork()
    if child == 0:
        signal.alarm(int(wish["seconds"]))
        try:
            answer(wish)
        except Exception as error:
            with open(wish["said"], "w") as out:
                out.write("".join(traceback.format_exception(error)))
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    print(json.dumps(status), flush=True)
"""


class Unreadable(Exception):
    """What the process said of a directory that it could not load."""


class Reader:
    """A process that has transformers 4.57 or 5 alone, and forks for each model that it is asked for, so that none
    has seen another. `adapters`: peft is imported once for all that come with an adapter."""

    def __init__(self, major: Major, *, adapters: bool = False) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", _READER, json.dumps(adapters)],
            cwd=tempfile.gettempdir(),
            env=_environment(major),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self.model_types = frozenset[str](self._hear())
        """That this transformers knows."""

    def __enter__(self) -> "Reader":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends the process."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        self._process.wait()

    def logits(
        self,
        directory: Path,
        rows: Sequence[Sequence[int]],
        *,
        adapter: Path | None = None,
        dtype: Dtype = "float32",
        seconds: float = SECONDS,
    ) -> Logits:
        """The logits (T, V) of each row of token ids, run alone, by the model in the directory, with `adapter` put on
        it by peft. Raises Unreadable with the end of the traceback."""
        with tempfile.TemporaryDirectory() as folder:
            out, said = Path(folder) / "logits.npz", Path(folder) / "said"
            wish = {
                "directory": str(directory),
                "rows": [[int(token) for token in row] for row in rows],
                "adapter": None if adapter is None else str(adapter),
                "dtype": dtype,
                "out": str(out),
                "said": str(said),
                "seconds": seconds,
            }
            assert self._process.stdin is not None
            self._process.stdin.write(json.dumps(wish) + "\n")
            self._process.stdin.flush()
            if status := self._hear():
                raise Unreadable(said.read_text()[-1500:] if said.exists() else f"the process ended with {status}")
            with np.load(out) as found:
                return [found[f"arr_{number}"] for number in range(len(rows))]

    def _hear(self) -> Any:
        assert self._process.stdout is not None
        return json.loads(self._process.stdout.readline())


def logits(
    directory: Path,
    rows: Sequence[Sequence[int]],
    *,
    major: Major = 5,
    adapter: Path | None = None,
    dtype: Dtype = "float32",
) -> Logits:
    """`Reader.logits` of a process for this alone."""
    with Reader(major) as reader:
        return reader.logits(directory, rows, adapter=adapter, dtype=dtype)


def run(script: str, *arguments: str, major: Major = 5) -> str:
    """Standard output of a Python script in a fresh process that has transformers 4.57 or 5.

    Raises AssertionError with the end of standard error where the script fails, or where 4.57 is not installed.
    """
    finished = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        cwd=tempfile.gettempdir(),
        env=_environment(major),
        capture_output=True,
        text=True,
        check=False,
        timeout=SECONDS,
    )
    assert finished.returncode == 0, finished.stderr[-3000:]
    return finished.stdout


def _environment(major: Major) -> dict[str, str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "PYTHONWARNINGS": "ignore"}
    environment.pop("PYTHONPATH", None)
    if major == 4:
        assert FOLDER.is_dir(), "transformers 4.57 is not there: run `make .venv/transformers-4/installed`"
        environment["PYTHONPATH"] = str(FOLDER)
    return environment
