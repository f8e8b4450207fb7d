"""The statement, the model's signature and the bill of materials, read by other implementations."""

import asyncio
import base64
import hashlib
import json
import shutil
import warnings
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from google.protobuf import json_format
from in_toto_attestation.v1.statement import Statement as InTotoStatement
from in_toto_attestation.v1.statement_pb2 import Statement as InTotoMessage
from jsonschema import Draft202012Validator
from model_signing import verifying
from securesystemslib.dsse import Envelope
from securesystemslib.signer import SSlibKey

from tests.integration.statements.conftest import CANARY, Delivered, fetch_statement


def payload(delivered: Delivered) -> dict[str, Any]:
    envelope = json.loads((delivered.folder / "statement.json").read_text())
    content: dict[str, Any] = json.loads(base64.b64decode(envelope["payload"]))
    return content


def published_key(delivered: Delivered, purpose: str) -> dict[str, Any]:
    keys = json.loads(delivered.keys.read_text())["keys"]
    (key,) = [key for key in keys if key["purpose"] == purpose]
    return dict(key)


def test_the_statement_is_a_signed_in_toto_statement(delivered: Delivered) -> None:
    envelope = Envelope.from_dict(json.loads((delivered.folder / "statement.json").read_text()))
    key = published_key(delivered, "evidence")
    public_key = SSlibKey.from_crypto(load_pem_public_key(key["pem"].encode()), key["kid"])
    assert list(envelope.verify([public_key], 1)) == [key["kid"]]
    assert envelope.payload_type == "application/vnd.in-toto+json"
    message = json_format.Parse(envelope.payload, InTotoMessage())
    InTotoStatement.copy_from_pb(message).validate()
    files = {path for path in delivered.checkpoint.rglob("*") if path.is_file() and path.name != "manifest.json"}
    digests = {
        path.relative_to(delivered.checkpoint).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
    }
    assert {subject.name: subject.digest["sha256"] for subject in message.subject} == digests


async def test_its_predicate_is_the_whole_report_by_the_published_schema(delivered: Delivered) -> None:
    async with httpx.AsyncClient(base_url=delivered.signing.service.url, timeout=60) as anybody:
        schema = (await anybody.get("/.well-known/statement.schema.json")).json()
    Draft202012Validator.check_schema(schema)
    statement = payload(delivered)
    assert [error.message for error in Draft202012Validator(schema).iter_errors(statement)] == []
    assert statement["predicateType"] == schema["$id"]
    report = (await delivered.client.get(f"/v1/jobs/{delivered.job}/report")).json()
    assert statement["predicate"]["report"] == report
    assert report["figures"]["after"]["sets"]["forget"]


def test_no_evidence_holds_a_records_text(delivered: Delivered) -> None:
    for name in ("statement.json", "model.sig"):
        document = json.loads((delivered.folder / name).read_text())
        inner = document.get("dsseEnvelope", document)["payload"]
        assert CANARY not in base64.b64decode(inner).decode()


def verify_model(checkpoint: Path, signature: Path, delivered: Delivered) -> None:
    pem = delivered.folder / "model.pem"
    pem.write_text(published_key(delivered, "model")["pem"])
    verifying.Config().use_elliptic_key_verifier(public_key=pem).verify(checkpoint, signature)


def test_openssf_model_signing_accepts_the_checkpoint_and_finds_a_changed_byte(
    delivered: Delivered, tmp_path: Path
) -> None:
    signature = delivered.folder / "model.sig"
    verify_model(delivered.checkpoint, signature, delivered)
    copy = tmp_path / "copy"
    shutil.copytree(delivered.checkpoint, copy)
    shutil.copy(signature, copy / "model.sig")
    verify_model(copy, copy / "model.sig", delivered)
    (copy / "manifest.json").unlink()
    verify_model(copy, signature, delivered)
    file = copy / "config.json"
    content = bytearray(file.read_bytes())
    content[0] ^= 1
    file.write_bytes(content)
    with pytest.raises(ValueError, match=r"Hash mismatch for .*config\.json"):
        verify_model(copy, signature, delivered)
    file.unlink()
    with pytest.raises(ValueError, match="Missing files"):
        verify_model(copy, signature, delivered)


async def test_the_bill_of_materials_is_valid_cyclonedx_with_every_file_and_figure(delivered: Delivered) -> None:
    answer = await delivered.client.get(f"/v1/jobs/{delivered.job}/bill-of-materials")
    assert answer.headers["content-type"].startswith("application/vnd.cyclonedx+json")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # the validator's own use of its schema library
        assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(answer.text) is None
    bill = answer.json()
    component = bill["metadata"]["component"]
    statement = payload(delivered)
    files = {file["name"]: file["hashes"][0]["content"] for file in component["components"]}
    assert files == {subject["name"]: subject["digest"]["sha256"] for subject in statement["subject"]}
    after = statement["predicate"]["report"]["figures"]["after"]
    metrics = {
        (metric["slice"], metric["type"]): float(metric["value"])
        for metric in component["modelCard"]["quantitativeAnalysis"]["performanceMetrics"]
    }
    assert metrics["forget", "perplexity"] == after["sets"]["forget"]["perplexity"]["value"]
    assert component["modelCard"]["considerations"]["technicalLimitations"]
    again = await delivered.client.get(f"/v1/jobs/{delivered.job}/bill-of-materials")
    assert again.content == answer.content


async def test_evidence_needs_a_scope_and_belongs_to_one_organisation(delivered: Delivered) -> None:
    paths = [f"/v1/jobs/{delivered.job}/{name}" for name in ("statement", "model-signature", "bill-of-materials")]
    service = delivered.signing.service
    async with service.client("evidence:read") as stranger, service.client("files:write") as uploader:
        for path in paths:
            assert (await stranger.get(path)).status_code == 404
            assert (await uploader.get(path)).status_code == 403


async def test_a_release_makes_a_new_statement(delivered: Delivered) -> None:
    statement = payload(delivered)
    report = statement["predicate"]["report"]
    assert report["checkpoint"]["released"] is False, "the demo's small model does not pass: see the fixture"
    created = await delivered.client.post("/v1/keys", json={"name": "officer", "scopes": ["release:write"]})
    headers = {"Authorization": f"Bearer {created.json()['key']}"}
    path = f"/v1/checkpoints/{report['checkpoint']['id']}/release"
    released = await delivered.client.post(path, json={"reason": "read by hand"}, headers=headers)
    assert released.status_code == 200, released.text
    async with asyncio.timeout(60):
        while True:
            answer = await fetch_statement(delivered.client, delivered.job)
            newer = json.loads(base64.b64decode(answer.json()["payload"]))["predicate"]["report"]
            if newer["checkpoint"]["released"]:
                break
            await asyncio.sleep(0.1)
    assert newer["checkpoint"]["released_by"]["name"] == "officer"
    assert newer["figures"] == report["figures"]
