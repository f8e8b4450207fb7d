"""`unlearn verify` as a third party runs it."""

import os
import subprocess
import sys
from pathlib import Path

from tests.integration.signing.conftest import ROOT


def verify(folder: Path, *arguments: str) -> tuple[int, str]:
    """Runs the command in an environment without any setting of a service; returns exit code and output."""
    done = subprocess.run(
        [sys.executable, "-m", "api.cli", "verify", "statement.json", *arguments],
        cwd=folder,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "COLUMNS": "200", "OPENBLAS_CORETYPE": "Haswell"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stdout + done.stderr


def failures(output: str) -> list[str]:
    return [line.removeprefix("FAILED").strip() for line in output.splitlines() if line.startswith("FAILED")]
