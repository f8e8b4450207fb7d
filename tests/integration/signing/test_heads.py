"""The signer signs the heads of audit logs; its keys are published, rotated and revoked."""

import asyncio
import json
import stat
from pathlib import Path
from typing import Any

import httpx
from typer.testing import CliRunner

from api.cli.app import app
from core.schema.audit import FIRST_PREVIOUS, AuditEntry, AuditLine, entry_hash
from tests.integration.api.service import upload_records
from tests.integration.signing.conftest import Signing


async def jwks(client: httpx.AsyncClient) -> list[dict[str, Any]]:
    """Returns the published keys, without an API key."""
    async with httpx.AsyncClient(base_url=client.base_url, timeout=60) as anybody:
        answer = await anybody.get("/.well-known/jwks.json")
    assert answer.status_code == 200
    keys: list[dict[str, Any]] = answer.json()["keys"]
    return keys


async def wait_for_signed_head(client: httpx.AsyncClient) -> dict[str, Any]:
    """Waits until the newest entry is signed with a key that counts, and returns the page of the log."""
    async with asyncio.timeout(60):
        while True:
            page: dict[str, Any] = (await client.get("/v1/audit")).json()
            counting = {key["kid"] for key in await jwks(client) if key["revoked_at"] is None}
            head = page["signed_head"]
            if head is not None and head["signatures"][0]["keyid"] in counting:
                lines = (await client.get("/v1/audit/export")).text.splitlines()
                if "signed_head" in json.loads(lines[-1]):
                    return page
            await asyncio.sleep(0.1)


def verify(file: Path, keys: Path, lines: list[str]) -> tuple[int, str]:
    file.write_text("".join(line + "\n" for line in lines))
    done = CliRunner().invoke(app, ["verify", str(file), "--keys", str(keys)])
    return done.exit_code, done.output


async def test_heads_are_signed_and_a_rewritten_log_is_found(signing: Signing, tmp_path: Path) -> None:
    async with signing.service.client() as client:
        assert await jwks(client) == []
        assert signing.command("health").returncode == 1
        await upload_records(client, "forget")
        with signing.running():
            first = await wait_for_signed_head(client)
            await upload_records(client, "forget")
            page = await wait_for_signed_head(client)
            assert page["head"]["seq"] > first["head"]["seq"]
            assert signing.command("health").stdout == "alive\n"
            file, keys = tmp_path / "audit.jsonl", tmp_path / "jwks.json"
            keys.write_text((await client.get("/.well-known/jwks.json")).text)
            lines = (await client.get("/v1/audit/export")).text.splitlines()
        code, output = verify(file, keys, lines)
        assert (code, "2 signed heads" in output) == (0, True), output

        # whoever has the database rewrites the whole chain: the hashes fit, the signed head does not
        entries = [json.loads(line)["entry"] for line in lines if "entry" in json.loads(line)]
        heads = [line for line in lines if "signed_head" in json.loads(line)]
        rewritten = rewrite(entries)
        code, output = verify(file, keys, [*rewritten, heads[-1]])
        assert (code, "signed head of entry" in output) == (1, True)
        code, output = verify(file, keys, rewritten)
        assert (code, "who says that these are the entries" in output) == (0, True)

        forged = json.loads(heads[-1])
        signature = forged["signed_head"]["signatures"][0]
        signature["sig"] = ("A" if signature["sig"][0] != "A" else "B") + signature["sig"][1:]
        code, output = verify(file, keys, [*lines[:-1], json.dumps(forged)])
        assert (code, "the signature or what it signs was changed" in output) == (1, True)


def rewrite(entries: list[dict[str, Any]]) -> list[str]:
    """Returns the lines of a log whose first entry says something else, with all hashes made anew."""
    previous, lines = FIRST_PREVIOUS, []
    for number, entry in enumerate(entries):
        changed = AuditEntry.model_validate(entry | {"previous": previous})
        changed = changed.model_copy(update={"action": "file.deleted"} if number == 0 else {})
        changed = changed.model_copy(update={"hash": entry_hash(changed)})
        previous = changed.hash
        lines.append(AuditLine(entry=changed).model_dump_json(exclude_unset=True))
    return lines


async def test_only_the_owner_reads_private_keys_and_a_restart_keeps_them(signing: Signing) -> None:
    async with signing.service.client() as client:
        for _ in range(2):
            with signing.running():
                await upload_records(client, "forget")
                await wait_for_signed_head(client)
        keys = await jwks(client)
    assert {(key["purpose"], key["kty"], key["crv"]) for key in keys} == {
        ("evidence", "OKP", "Ed25519"),
        ("model", "EC", "P-256"),
    }
    files = {file.stem: stat.S_IMODE(file.stat().st_mode) for file in signing.keys.glob("*.pem")}
    assert files == {key["kid"]: 0o600 for key in keys}
    assert stat.S_IMODE(signing.keys.stat().st_mode) == 0o700


async def test_signatures_of_a_rotated_key_stay_valid_and_those_of_a_revoked_key_do_not(
    signing: Signing, tmp_path: Path
) -> None:
    file, keys = tmp_path / "audit.jsonl", tmp_path / "jwks.json"
    async with signing.service.client() as client:
        with signing.running():
            await upload_records(client, "forget")
            await wait_for_signed_head(client)
            old = {key["kid"] for key in await jwks(client)}
            rotated = signing.command("rotate")
            assert rotated.returncode == 0, rotated.stderr
            await upload_records(client, "forget")
            await wait_for_signed_head(client)
            published = await jwks(client)
            new = {key["kid"] for key in published if key["not_after"] is None}
            assert new.isdisjoint(old)
            assert {file.stem for file in signing.keys.glob("*.pem")} == new, "retired private keys are deleted"
            lines = (await client.get("/v1/audit/export")).text.splitlines()
            keys.write_text((await client.get("/.well-known/jwks.json")).text)
            code, output = verify(file, keys, lines)
            assert code == 0, output
            signers = {
                json.loads(line)["signed_head"]["signatures"][0]["keyid"] for line in lines if "signed_head" in line
            }
            assert len(signers) == 2

            (active,) = [key["kid"] for key in published if key["kid"] in new and key["purpose"] == "evidence"]
            revoked = signing.command("revoke", active, "--reason", "left in a train")
            assert revoked.returncode == 0, revoked.stderr
            page = await wait_for_signed_head(client)
            assert page["signed_head"]["signatures"][0]["keyid"] not in {active, *old}, "the head is signed again"
            keys.write_text((await client.get("/.well-known/jwks.json")).text)
            code, output = verify(file, keys, lines)
            assert (code, f"the key {active} was revoked" in output, "left in a train" in output) == (1, True, True)
            again = (await client.get("/v1/audit/export")).text.splitlines()
            assert verify(file, keys, again)[0] == 0, "a fresh export holds only signatures that count"
    assert signing.command("revoke", "none", "--reason", "x").returncode == 1
