"""`unlearn preflight` on a real directory: a table, and whether it fits."""

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from api.cli.app import app
from tests.integration.api.model_directory import write_model


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return write_model(tmp_path / "model", intermediate_size=32)


def test_the_table_says_what_a_job_takes_and_what_of(directory: Path) -> None:
    answer = CliRunner().invoke(app, ["preflight", str(directory), "--method", "ascent_kl", "--records-per-step", "8"])
    assert answer.exit_code == 0, answer.output
    rows = [re.split(r"  +", line.strip()) for line in answer.output.splitlines()]
    assert rows[:2] == [["weights", "1,256"], ["of them trained", "1,256"]]
    assert ["tokens of an update", "3,200"] in rows  # 8 to forget and 8 to retain, of 200 tokens
    assert any(row[0].startswith("memory of the host, while") for row in rows)
    assert "GPU" not in answer.output


def test_it_ends_with_one_where_a_job_does_not_fit_and_says_what_is_missing(directory: Path) -> None:
    answer = CliRunner().invoke(app, ["preflight", str(directory), "--memory", "0.25"])
    assert answer.exit_code == 1
    assert "does not fit: the job needs" in answer.output
    fits = CliRunner().invoke(app, ["preflight", str(directory), "--memory", "64"])
    assert fits.exit_code == 0
    assert "fits into 64 GB" in fits.output


def test_a_directory_without_a_model_is_refused(tmp_path: Path) -> None:
    answer = CliRunner().invoke(app, ["preflight", str(tmp_path)])
    assert answer.exit_code == 2
