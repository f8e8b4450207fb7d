"""The service and the key that a command takes."""

import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from api.cli.connection import connect
from api.cli.data_folder import DataFolder, RunningService
from api.client import NoServiceNamed, UnlearningClient

OWN, FOREIGN = "http://127.0.0.1:8123", "http://elsewhere.example:8123"


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("UNLEARN_URL", "UNLEARN_KEY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def data(tmp_path: Path) -> Iterator[Path]:
    """A data folder whose service runs."""
    folder = DataFolder(tmp_path)
    folder.admin_key.write_text("ulk_admin\n")
    folder.release_key.write_text("ulk_release\n")
    (tmp_path / "lock").touch()
    descriptor = os.open(tmp_path / "lock", os.O_RDWR)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    folder.announce(RunningService(pid=os.getpid(), url=OWN))
    yield tmp_path
    os.close(descriptor)


def named(client: UnlearningClient) -> tuple[str, str]:
    """Returns the address and the key that the client sends."""
    with client:
        http = client.models.transport.http
        return str(http.base_url).rstrip("/"), http.headers["Authorization"].removeprefix("Bearer ")


def test_the_folders_service_is_asked_with_the_folders_keys(data: Path) -> None:
    assert named(connect(data)) == (OWN, "ulk_admin")
    assert named(connect(data, releases=True)) == (OWN, "ulk_release")
    assert named(connect(data, server=OWN + "/")) == (OWN, "ulk_admin")


def test_options_outweigh_the_environment_and_the_environment_the_folder(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UNLEARN_URL", "http://named.example")
    monkeypatch.setenv("UNLEARN_KEY", "ulk_named")
    assert named(connect(data)) == ("http://named.example", "ulk_named")
    assert named(connect(data, server=FOREIGN, key="ulk_option")) == (FOREIGN, "ulk_option")


def test_the_folders_key_is_not_sent_to_another_service(data: Path) -> None:
    with pytest.raises(NoServiceNamed, match="no key for"):
        connect(data, server=FOREIGN)


def test_a_folder_without_a_service_is_named(tmp_path: Path) -> None:
    with pytest.raises(NoServiceNamed, match="unlearn up"):
        connect(tmp_path)
