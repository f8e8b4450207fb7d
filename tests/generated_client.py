"""A client that openapi-python-client generates from docs/openapi.json, in the tests' own environment."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
FOLDER = Path(sys.prefix) / "openapi-client"
"""`make .venv/openapi-client/installed` puts the generator here, with its dependencies that .venv has newer."""


def generate_client(target: Path) -> None:
    """Writes the package to `target`, which must not exist. AssertionError: a part of the document has no client."""
    assert FOLDER.is_dir(), "the generator is not there: run `make .venv/openapi-client/installed`"
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))  # it formats with ruff
    document = str(ROOT / "docs" / "openapi.json")
    command = [sys.executable, "-m", "openapi_python_client", "generate", "--path", document, "--meta", "none"]
    done = subprocess.run(
        [*command, "--output-path", str(target), "--fail-on-warning"],
        env={**os.environ, "PYTHONPATH": str(FOLDER), "PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
