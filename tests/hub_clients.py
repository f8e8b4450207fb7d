"""The real clients of the Hub's protocol, in processes of their own that know only an endpoint and a token."""

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Literal

Client = Literal["newest", "previous", "transformers-4"]
CLIENTS: tuple[Client, ...] = ("newest", "previous")
"""The newest two minor versions of huggingface_hub: .venv's own, and the one of its folder."""

FOLDERS = {name: Path(sys.prefix) / name for name in ("huggingface-hub-previous", "transformers-4")}
"""`make` puts the packages of tests/*.txt here; the rest is .venv's own."""

SECONDS = 300

_PROGRAM = """
import json, os, sys, warnings
warnings.simplefilter("ignore")
import huggingface_hub
from huggingface_hub import HfApi, HfFileSystem, hf_hub_download, snapshot_download
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

def run(repository):
    {body}

answer = {{"version": huggingface_hub.__version__}}
try:
    answer["result"] = run(sys.argv[1])
except (HfHubHTTPError, OSError) as error:
    answer["error"] = type(error).__name__
    answer["message"] = str(error)
    cause = error.__cause__
    answer["cause"] = None if cause is None else type(cause).__name__
print(json.dumps(answer))
"""


class Answer(dict[str, Any]):
    """What a client said; to ask for what it did not say shows the whole."""

    def __missing__(self, key: str) -> Any:
        raise AssertionError(f"no {key} in the client's answer: {dict(self)}")


def environment(client: Client, home: Path, endpoint: str, token: str | None) -> dict[str, str]:
    """Returns the environment of a person who uses this service as her Hub."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("HF_", "PYTHONPATH", "TRANSFORMERS_OFFLINE"))  # the Hub's client heeds the last too
    }
    kept |= {"HF_ENDPOINT": endpoint, "HF_HOME": str(home), "HF_HUB_DISABLE_TELEMETRY": "1", "OMP_NUM_THREADS": "1"}
    if token is not None:
        kept["HF_TOKEN"] = token
    folder = {"newest": None, "previous": "huggingface-hub-previous", "transformers-4": "transformers-4"}[client]
    if folder is not None:
        assert FOLDERS[folder].is_dir(), f"{folder} is not there: run `make .venv/{folder}/installed`"
        kept["PYTHONPATH"] = str(FOLDERS[folder])
    return kept


async def run_client(
    client: Client, body: str, repository: str, *, home: Path, endpoint: str, token: str | None
) -> Answer:
    """Runs `body`, the lines of a function of `repository`, and returns its result, or the error that it raised."""
    program = _PROGRAM.format(body="\n    ".join(body.strip().splitlines()))
    finished = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-c", program, repository],
        env=environment(client, home, endpoint, token),
        cwd=home,
        capture_output=True,
        text=True,
        check=False,
        timeout=SECONDS,
    )
    assert finished.returncode == 0, finished.stderr[-3000:]
    return Answer(json.loads(finished.stdout.splitlines()[-1]), log=finished.stderr)
