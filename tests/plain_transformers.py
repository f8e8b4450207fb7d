"""Plain transformers, 5 or 4.57, in processes of their own, as a person uses them who downloads a checkpoint."""

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
"""`make .venv/transformers-4/installed` puts transformers 4.57 here, with its dependencies that .venv has newer."""

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

def answer(request):
    dtype = request["dtype"] if request["dtype"] == "auto" else getattr(torch, request["dtype"])
    model = AutoModelForCausalLM.from_pretrained(request["directory"], dtype=dtype)
    if request["adapter"]:
        from peft import PeftModel
        model = PeftModel.from_pretrained(model, request["adapter"])
    model.eval()
    with torch.no_grad():
        rows = [model(input_ids=torch.tensor([row]), use_cache=False).logits[0] for row in request["rows"]]
    numpy.savez(request["out"], *[row.double().numpy() for row in rows])

print(json.dumps(sorted(CONFIG_MAPPING.keys())), flush=True)
for line in sys.stdin:
    request = json.loads(line)
    child = os.fork()
    if child == 0:
        signal.alarm(int(request["seconds"]))
        try:
            answer(request)
        except Exception as error:
            with open(request["traceback"], "w") as out:
                out.write("".join(traceback.format_exception(error)))
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    print(json.dumps(status), flush=True)
"""


class Unreadable(Exception):
    """The process could not load a directory; the message is the end of its traceback."""


class Reader:
    """A process that has only transformers 4.57 or 5, and forks for each model, so that models share no state.

    `adapters`: peft is imported once for all models with an adapter.
    """

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
        self.model_types = frozenset[str](self._read_answer())
        """The model types that this transformers knows."""

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
        """Returns the logits (T, V) of each row of token ids, run alone, by the model in the directory.

        peft attaches `adapter` to it. Raises Unreadable with the end of the traceback.
        """
        with tempfile.TemporaryDirectory() as folder:
            out, failure = Path(folder) / "logits.npz", Path(folder) / "traceback"
            request = {
                "directory": str(directory),
                "rows": [[int(token) for token in row] for row in rows],
                "adapter": None if adapter is None else str(adapter),
                "dtype": dtype,
                "out": str(out),
                "traceback": str(failure),
                "seconds": seconds,
            }
            assert self._process.stdin is not None
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
            if status := self._read_answer():
                message = failure.read_text()[-1500:] if failure.exists() else f"the process ended with {status}"
                raise Unreadable(message)
            with np.load(out) as arrays:
                return [arrays[f"arr_{number}"] for number in range(len(rows))]

    def _read_answer(self) -> Any:
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
    """Returns `Reader.logits` of a process that is started for this call."""
    with Reader(major) as reader:
        return reader.logits(directory, rows, adapter=adapter, dtype=dtype)


def run(script: str, *arguments: str, major: Major = 5) -> str:
    """Returns the standard output of a Python script in a fresh process that has transformers 4.57 or 5.

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
