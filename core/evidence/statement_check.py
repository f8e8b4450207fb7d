"""The check of a statement: its signature, what it says of itself twice, and the files of the checkpoint."""

import hashlib
from pathlib import Path

from core.evidence.envelope import open_envelope, read_payload
from core.evidence.findings import Findings
from core.evidence.key_set import BadSignature, check_validity
from core.evidence.model_signature import SIGNATURE_NAME
from core.evidence.statement import read_statement
from core.schema.envelopes import Envelope
from core.schema.manifest import MANIFEST_NAME, digest, manifest
from core.schema.signing_keys import SigningKeySet
from core.schema.statements import PAYLOAD_TYPE, Statement

BESIDE = (SIGNATURE_NAME, "statement.json", "jwks.json")
"""Evidence that people keep beside the checkpoint's files, by the names that the documentation gives it."""


def check_statement(
    envelope: Envelope, findings: Findings, *, keys: SigningKeySet | None, checkpoint: Path | None
) -> Statement | None:
    """Checks a statement and, where it is given, the checkpoint's directory. Returns the statement, if it can be read.

    A statement whose signature does not count is read all the same, so that a changed file is named as well.
    """
    statement = _check_signature(envelope, findings, keys)
    if statement is None:
        return None
    _check_subjects(statement, findings)
    if checkpoint is None:
        findings.unchecked.append("the checkpoint's files: name their directory with --checkpoint")
    else:
        _check_files(statement, checkpoint, findings)
    return statement


def _check_signature(envelope: Envelope, findings: Findings, keys: SigningKeySet | None) -> Statement | None:
    signed_with = None
    if keys is None:
        findings.unchecked.append("the signature: name the signer's public keys with --keys")
    else:
        try:
            _, signed_with = open_envelope(envelope, PAYLOAD_TYPE, keys)
        except BadSignature as error:
            findings.failures.append(f"the signature: {error}")
    try:
        statement = read_statement(read_payload(envelope))
    except BadSignature as error:
        findings.failures.append(f"the statement: {error}")
        return None
    if signed_with is not None:
        try:
            check_validity(signed_with, statement.predicate.signed_at)
        except BadSignature as error:
            findings.failures.append(f"the signature: {error}")
        else:
            at = statement.predicate.signed_at.isoformat()
            findings.checked.append(f"the signature of the whole statement, by the key {signed_with.kid} at {at}")
            findings.unchecked.append(
                "whether that key was revoked, or another statement made, since the keys were saved"
            )
    return statement


def _check_subjects(statement: Statement, findings: Findings) -> None:
    """Compares what the statement says of the checkpoint's files in several places."""
    report, failures = statement.predicate.report, list[str]()
    checkpoint = report.checkpoint
    if checkpoint is None:
        findings.failures.append("the statement: its report is of a job without a checkpoint")
        return
    listed = {file.path: file.sha256 for file in checkpoint.files}
    subjects = {subject.name: subject.digest["sha256"] for subject in statement.subject}
    for name in sorted(listed.keys() | subjects.keys()):
        if listed.get(name) != subjects.get(name):
            failures.append(f"the statement, file {name}: its subjects and its report do not say the same of it")
    if digest(checkpoint.files) != checkpoint.digest:
        failures.append(f"the statement: the digest of checkpoint {checkpoint.id} is not that of its list of files")
    if sum(file.bytes for file in checkpoint.files) != checkpoint.bytes:
        failures.append(f"the statement: the size of checkpoint {checkpoint.id} is not that of its files")
    findings.failures += failures
    if not failures:
        findings.checked.append(f"the statement says the same of its {len(subjects)} files everywhere")


def _check_files(statement: Statement, directory: Path, findings: Findings) -> None:
    subjects = {subject.name: subject.digest["sha256"] for subject in statement.subject}
    found = {file.path: file.sha256 for file in manifest(directory)}
    failures = []
    for name in sorted(subjects.keys() | found.keys()):
        if name not in found:
            failures.append(f"file {name}: it is missing")
        elif name not in subjects:
            if name not in BESIDE:
                failures.append(f"file {name}: it does not belong to the checkpoint")
        elif found[name] != subjects[name]:
            failures.append(f"file {name}: its sha256 is {found[name]}, not {subjects[name]}; it was changed")
    own_manifest, checkpoint = directory / MANIFEST_NAME, statement.predicate.report.checkpoint
    stated_digest = None if checkpoint is None else checkpoint.digest
    if own_manifest.is_file() and hashlib.sha256(own_manifest.read_bytes()).hexdigest() != stated_digest:
        failures.append(f"file {MANIFEST_NAME}: its sha256 is not the digest of the checkpoint; it was changed")
    findings.failures += failures
    if not failures:
        findings.checked.append(f"the {len(subjects)} files in {directory.name}, byte by byte")
