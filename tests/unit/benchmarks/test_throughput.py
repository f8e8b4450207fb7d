"""The command, for real, on a model of a few hundred weights: two processes that take turns."""

import subprocess
import sys

import pytest

PAGE = "# Figures\n\nprose\n\n<!-- throughput-cpu-float32 -->\nold\n<!-- /throughput-cpu-float32 -->\n\nmore prose\n"


def test_the_command_measures_both_sides_and_writes_its_table_between_its_marks(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(PAGE)
    options = ["--shape", "tiny", "--steps", "2", "--vocabulary", "97", "--only", "short", "--method", "ascent_kl"]
    command = [sys.executable, "-m", "api.cli", "bench", "throughput", *options, "--out", str(page)]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    row = next(line for line in finished.stdout.splitlines() if line.strip().startswith("ascent_kl"))
    core, plain, ratio, _, memory, others, _, loss = row.split()[1:]
    assert float(core.replace(",", "")) / float(plain.replace(",", "")) == pytest.approx(float(ratio), abs=0.01)
    assert 0 < int(memory) < 1000
    assert 0 < int(others) < 1000
    assert float(loss) < 1e-4

    before, rest = page.read_text().split("<!-- throughput-cpu-float32 -->")
    table, after = rest.split("<!-- /throughput-cpu-float32 -->")
    assert (before, after) == ("# Figures\n\nprose\n\n", "\n\nmore prose\n")
    assert f"unlearn bench throughput {' '.join(options)}" in table
    assert "torch" in table
    assert "| ascent_kl |" in table
    assert "old" not in table


def test_what_the_plain_trainer_cannot_do_is_refused():
    command = [sys.executable, "-m", "api.cli", "bench", "throughput", "--method", "calibrated"]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    assert finished.returncode == 2
    assert "calibrated" in finished.stderr
