"""`deploy/pip_settings.py`: pip inside an image build finds packages where pip on this machine does."""

import os
import subprocess
import sys
from configparser import ConfigParser
from pathlib import Path

from tests.integration.deployment.compose_file import ROOT


def carry(tmp_path: Path, configuration: str, **variables: str) -> tuple[dict[str, str], list[str]]:
    """Runs the script with this pip configuration; returns the written options and the paths to mount."""
    (tmp_path / "pip.ini").write_text(configuration)
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")}
    argv = [sys.executable, ROOT / "deploy" / "pip_settings.py", tmp_path / "out.conf"]
    own = {"PIP_CONFIG_FILE": str(tmp_path / "pip.ini"), "HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path)}
    done = subprocess.run(argv, check=True, capture_output=True, text=True, env={**clean, **own, **variables})
    written = ConfigParser(interpolation=None)
    written.read(tmp_path / "out.conf")
    return dict(written["global"]), done.stdout.splitlines()


def test_more_specific_settings_win_as_they_do_in_pip(tmp_path: Path) -> None:
    configuration = (
        "[global]\nindex-url = https://a.test/simple\ntimeout = 9\n[install]\nindex-url = https://b.test/simple\n"
    )
    carried, _ = carry(tmp_path, configuration, PIP_TIMEOUT="77")
    assert carried["index-url"] == "https://b.test/simple"
    assert carried["timeout"] == "77"


def test_named_folders_are_mounted_and_local_indexes_with_the_files_beside_them(tmp_path: Path) -> None:
    wheels, index = tmp_path / "wheels", tmp_path / "index" / "simple"
    wheels.mkdir()
    index.mkdir(parents=True)
    configuration = f"[global]\nfind-links =\n    {wheels}\n    /not/there\nextra-index-url = file://{index} https://c.test/simple\n"
    carried, mounted = carry(tmp_path, configuration)
    assert carried["find-links"].split() == [str(wheels), "/not/there"]
    assert carried["extra-index-url"].split() == [f"file://{index}", "https://c.test/simple"]
    assert {str(wheels), str(index.parent)} <= set(mounted)
    assert not {"/not/there", "/", str(index)} & set(mounted)


def test_settings_of_this_machine_alone_are_left_out(tmp_path: Path) -> None:
    carried, _ = carry(tmp_path, "[global]\ncache-dir = /var/cache/pip\nrequire-virtualenv = true\n")
    assert not {"cache-dir", "require-virtualenv"} & set(carried)
