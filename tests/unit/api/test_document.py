"""docs/openapi.json is the document of this version, so that a change of the interface shows in every review."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from api.cli.app import app
from api.document import write_document

STORED = Path(__file__).parents[3] / "docs" / "openapi.json"


def test_the_stored_document_is_up_to_date() -> None:
    assert write_document() == STORED.read_text(encoding="utf-8"), (
        "the interface has changed: make it again by `unlearn openapi --out docs/openapi.json`"
    )


def test_the_operators_settings_do_not_change_the_document(monkeypatch: pytest.MonkeyPatch) -> None:
    before = write_document()
    monkeypatch.setenv("CONSOLE", "false")
    monkeypatch.setenv("MAX_BODY_BYTES", "7")
    assert write_document() == before


def test_the_command_writes_the_document(tmp_path: Path) -> None:
    out = tmp_path / "openapi.json"
    assert CliRunner().invoke(app, ["openapi", "--out", str(out)]).exit_code == 0
    assert json.loads(out.read_text(encoding="utf-8"))["openapi"].startswith("3.1")
