"""The commands of a person who files evidence: from the service's statement to the check without the service."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from api.cli.app import app
from tests.integration.api.cli.command import separate_log
from tests.integration.statements.conftest import Delivered


@pytest.fixture(autouse=True)
def service_log() -> Iterator[None]:
    """Keeps the log of the service, which runs in the same process, out of the command's output."""
    with separate_log():
        yield


async def unlearn(delivered: Delivered, *arguments: str) -> Result:
    key = delivered.client.headers["authorization"].removeprefix("Bearer ")
    environment = {"UNLEARN_URL": delivered.signing.service.url, "UNLEARN_KEY": key, "COLUMNS": "200"}
    return await asyncio.to_thread(CliRunner().invoke, app, list(arguments), env=environment)


async def test_a_statement_is_downloaded_with_its_keys_and_verified(delivered: Delivered, tmp_path: Path) -> None:
    checkpoint, statement, keys = (str(tmp_path / name) for name in ("checkpoint", "statement.json", "jwks.json"))
    for command in (
        ("jobs", "download", delivered.job, "--out", checkpoint),
        ("statement", delivered.job, "--out", statement, "--keys", keys),
    ):
        done = await unlearn(delivered, *command)
        assert done.exit_code == 0, done.output
    verified = await unlearn(delivered, "verify", statement, "--checkpoint", checkpoint, "--keys", keys, "--json")
    findings = json.loads(verified.stdout)
    assert (verified.exit_code, findings["failed"], findings["exit_code"]) == (0, [], 0)
    assert any("byte by byte" in checked for checked in findings["holds"])
    (tmp_path / "checkpoint" / "config.json").write_text("{}")
    changed = await unlearn(delivered, "verify", statement, "--checkpoint", checkpoint, "--keys", keys, "--json")
    assert changed.exit_code == 1
    assert any("config.json" in failure for failure in json.loads(changed.stdout)["failed"])


async def test_an_exported_audit_log_is_verified_with_its_signed_head(delivered: Delivered, tmp_path: Path) -> None:
    file, keys = tmp_path / "audit.jsonl", str(delivered.keys)
    async with asyncio.timeout(60):
        while True:
            assert (await unlearn(delivered, "audit", "export", "--out", str(file))).exit_code == 0
            if b"signed_head" in await asyncio.to_thread(file.read_bytes):
                break
            await asyncio.sleep(0.2)
    verified = await unlearn(delivered, "verify", str(file), "--keys", keys)
    assert verified.exit_code == 0, verified.output
    assert "signed heads" in verified.stdout
