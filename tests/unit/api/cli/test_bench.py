"""`unlearn bench` starts every benchmark in the same way, and holds none itself."""

import subprocess
import sys

import pytest
from typer.testing import CliRunner

from api.cli import bench
from api.cli.app import app


@pytest.mark.parametrize("name", sorted(bench.BENCHMARKS))
def test_a_benchmark_shows_its_own_options(name: str) -> None:
    command = [sys.executable, "-m", "api.cli", "bench", name, "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert f"unlearn bench {name}" in done.stdout
    assert "--out" in done.stdout


def test_a_benchmark_gets_its_options_and_its_exit_code_is_the_commands(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[str, list[str]]] = []

    def run(name: str, arguments: list[str]) -> int:
        calls.append((name, arguments))
        return 3

    monkeypatch.setattr(bench, "run_benchmark", run)
    done = CliRunner().invoke(app, ["bench", "start-up", "--jobs", "2", "--out", "page.md"])
    assert (done.exit_code, calls) == (3, [("start-up", ["--jobs", "2", "--out", "page.md"])])


def test_without_the_benchmarks_the_command_says_where_they_are(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(bench, "find_spec", lambda _: None)
    assert bench.run_benchmark("methods", []) == 1
    assert "in a checkout of the repository" in capsys.readouterr().err


def test_the_command_works_where_the_benchmarks_are_not_installed() -> None:
    script = "import sys; sys.modules['benchmarks'] = None; from api.cli.app import app; app(['bench', '--help'])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert all(name in done.stdout for name in bench.BENCHMARKS)
