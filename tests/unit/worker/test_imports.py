"""Libraries that a worker's process must not load."""

import subprocess
import sys


def test_a_worker_never_loads_torch() -> None:
    script = "import sys, worker.__main__; print(sorted({'torch', 'transformers', 'fastapi'} & set(sys.modules)))"
    process = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert process.stdout.strip() == "[]"
