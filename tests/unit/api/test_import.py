import subprocess
import sys


def test_the_api_loads_neither_torch_nor_transformers() -> None:
    program = "import sys, api.main; print(*sorted({'torch', 'transformers', 'celery', 'pyarrow'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
