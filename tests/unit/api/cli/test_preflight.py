"""`unlearn preflight` on a real directory: its table, and whether the job fits."""

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from api.cli.app import app
from tests.integration.api.model_directory import write_model


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return write_model(tmp_path / "model", intermediate_size=32)


def test_the_table_shows_weights_tokens_and_memory_of_a_job(directory: Path) -> None:
    result = CliRunner().invoke(app, ["preflight", str(directory), "--method", "ascent_kl", "--records-per-step", "8"])
    assert result.exit_code == 0, result.output
    rows = [re.split(r"  +", line.strip()) for line in result.output.splitlines()]
    assert rows[:2] == [["weights", "1,256"], ["of them trained", "1,256"]]
    assert ["tokens of an update", "3,200"] in rows  # 8 to forget and 8 to retain, of 200 tokens
    assert any(row[0].startswith("memory of the host, while") for row in rows)
    assert "GPU" not in result.output


def test_the_exit_code_is_one_where_a_job_does_not_fit_and_the_shortage_is_named(directory: Path) -> None:
    result = CliRunner().invoke(app, ["preflight", str(directory), "--memory", "0.25"])
    assert result.exit_code == 1
    assert "does not fit: the job needs" in result.output
    fits = CliRunner().invoke(app, ["preflight", str(directory), "--memory", "64"])
    assert fits.exit_code == 0
    assert "fits into 64 GB" in fits.output


def test_the_estimate_is_one_json_document(directory: Path) -> None:
    result = CliRunner().invoke(app, ["preflight", str(directory), "--memory", "0.25", "--json"])
    document = json.loads(result.stdout)
    assert (result.exit_code, document["fits"], document["weights"]) == (1, False, 1256)
    assert document["memory"]["host"]["bytes"] == sum(document["memory"]["host"]["items"].values())
    assert document["shortage"].startswith("the job needs")


def test_a_directory_without_a_model_is_refused(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["preflight", str(tmp_path)])
    assert result.exit_code == 2
