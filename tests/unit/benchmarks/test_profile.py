import pytest
import torch
import typer
from typer.testing import CliRunner

from benchmarks.profile import show

OPTIONS = ["--shape", "tiny", "--vocabulary", "97", "--records", "2", "--top", "30"]


@pytest.fixture
def command():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    app = typer.Typer()
    app.command()(show)
    yield lambda *options: CliRunner().invoke(app, [*OPTIONS, *options])
    torch.set_num_threads(threads)


def test_a_profile_shows_the_operations_of_one_update_by_their_own_time(command):
    finished = command("--method", "ascent_descent")
    assert finished.exit_code == 0, finished.output
    lines = [line.split() for line in finished.output.splitlines() if line.strip()]
    names = [line[0] for line in lines]
    rows = lines[names.index("operation") + 2 : names.index("all")]
    times = [float(row[-4].replace(",", "")) for row in rows]
    assert len(rows) == 30
    assert times == sorted(times, reverse=True)
    assert "aten::mm" in names
    assert sum(times) <= float(lines[names.index("all")][1].replace(",", ""))


def test_a_profile_of_what_cannot_be_measured_is_refused(command):
    finished = command("--method", "erase")
    assert finished.exit_code == 2
    assert "ascent_kl" in finished.output
