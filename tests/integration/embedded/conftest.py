"""Data folders of embedded servers."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.embedded import Stack
from tests.servers import short_folder


@pytest.fixture
def folder() -> Iterator[Path]:
    with short_folder() as path:
        yield path


@pytest.fixture(scope="session")
def stopped_data() -> Iterator[Path]:
    """A data folder that has been started and stopped: copying it is quicker than initdb."""
    with short_folder() as path:
        Stack.start(path / "data").stop()
        yield path / "data"


@pytest.fixture
def data(folder: Path, stopped_data: Path) -> Iterator[Path]:
    """A data folder of the test's own, not running."""
    subprocess.run(["/bin/cp", "-a", str(stopped_data), str(folder / "data")], check=True)
    yield folder / "data"
    Stack(folder / "data").stop()
