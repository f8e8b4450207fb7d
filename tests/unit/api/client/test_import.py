import subprocess
import sys

HEAVY = "{'torch', 'transformers', 'numpy', 'fastapi', 'starlette', 'sqlalchemy', 'celery', 'cryptography'}"


def test_the_client_loads_nothing_heavy() -> None:
    program = f"import sys, api.client; print(*sorted({HEAVY} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_the_client_loads_on_a_system_without_locks() -> None:
    program = "import sys; sys.modules['fcntl'] = None; import api.client; print(api.client.part_file.fcntl)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "None"
