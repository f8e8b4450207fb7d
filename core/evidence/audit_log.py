"""The check of an exported audit log: every entry's hash, the chain that the hashes form, and its signed heads."""

from collections.abc import Iterable

from pydantic import ValidationError

from core.evidence.envelope import read_payload
from core.evidence.findings import Findings
from core.evidence.key_set import BadSignature
from core.evidence.signed_head import SignedHead, open_head
from core.schema.audit import FIRST_PREVIOUS, AuditEntry, AuditLine, entry_hash
from core.schema.envelopes import Envelope
from core.schema.signing_keys import SigningKeySet

LISTED_FAILURES = 20
"""Most failures that are named: one changed entry is one failure, a replaced file would be thousands."""


def check_audit_log(lines: Iterable[bytes], keys: SigningKeySet | None = None) -> Findings:
    """Checks the lines of `GET /v1/audit/export` and names each entry that was changed, removed or inserted.

    Without public keys the signatures are not checked, but signed heads must fit the entries all the same.
    """
    check = _AuditLogCheck(keys)
    for number, line in enumerate(lines, 1):
        if len(check.findings.failures) >= LISTED_FAILURES:
            check.findings.unchecked.append(f"the lines from {number} on: too much is wrong already")
            break
        check.read_line(number, line)
    return check.finish()


class _AuditLogCheck:
    def __init__(self, keys: SigningKeySet | None) -> None:
        self.findings = Findings()
        self._keys = keys
        self._previous: AuditEntry | None = None
        self._entries = 0
        self._heads = 0
        self._signed: SignedHead | None = None

    def read_line(self, number: int, line: bytes) -> None:
        """Checks one line against the lines before."""
        try:
            content = AuditLine.model_validate_json(line)
        except ValidationError:
            self.findings.failures.append(f"line {number}: it is not an entry of an audit log")
            return
        if content.entry is not None:
            self._read_entry(number, content.entry)
        elif content.signed_head is not None:
            self._read_head(number, content.signed_head)

    def finish(self) -> Findings:
        """Returns the findings about all lines."""
        findings, newest = self.findings, self._previous
        if newest is None:
            findings.unchecked.append("any entry: the file holds none")
            return findings
        if findings.holds:
            findings.checked.append(
                f"{self._entries} entries of {newest.organisation}: each hash is right, and no entry up to number"
                f" {newest.seq} was changed, removed or inserted, if the hash of entry {newest.seq} is {newest.hash}"
            )
        if self._keys is None:
            findings.unchecked.append("the signatures of heads: name the signer's public keys with --keys")
        elif self._signed is None:
            findings.unchecked.append("who says that these are the entries: the file holds no signed head")
        elif findings.holds:
            findings.checked.append(
                f"{self._heads} signed heads; the newest was signed at {self._signed.signed_at.isoformat()}"
            )
            if self._signed.seq < newest.seq:
                findings.unchecked.append(
                    f"who says that the entries {self._signed.seq + 1} to {newest.seq} are these: no head after them"
                    " is signed yet"
                )
        findings.unchecked.append(f"whether there are entries after number {newest.seq}")
        return findings

    def _read_entry(self, number: int, entry: AuditEntry) -> None:
        self.findings.failures += _check_entry(entry, self._previous, number)
        if self._previous is None and entry.seq > 1:
            self.findings.unchecked.append(f"the entries 1 to {entry.seq - 1}: the file begins after them")
        self._previous = entry
        self._entries += 1

    def _read_head(self, number: int, envelope: Envelope) -> None:
        try:
            if self._keys is not None:
                head = open_head(envelope, self._keys)
            else:
                head = SignedHead.model_validate_json(read_payload(envelope))
        except BadSignature as error:
            self.findings.failures.append(f"line {number}, signed head: {error}")
            return
        except ValidationError:
            self.findings.failures.append(f"line {number}, signed head: it is not the head of an audit log")
            return
        newest = self._previous
        if newest is None or (head.organisation, head.seq, head.hash) != (newest.organisation, newest.seq, newest.hash):
            self.findings.failures.append(
                f"line {number}, signed head of entry {head.seq}: entry {head.seq} with the hash {head.hash} is not the"
                " entry before it; entries were changed, removed or inserted"
            )
            return
        self._signed = head
        self._heads += 1


def _check_entry(entry: AuditEntry, previous: AuditEntry | None, number: int) -> list[str]:
    place = f"line {number}, entry {entry.seq} ({entry.action} of {entry.object} at {entry.at})"
    failures = []
    if entry_hash(entry) != entry.hash:
        failures.append(f"{place}: its hash is not that of its fields; the entry was changed")
    if previous is None:
        if entry.seq == 1 and entry.previous != FIRST_PREVIOUS:
            failures.append(f"{place}: the first entry refers to an entry before it")
        return failures
    if entry.organisation != previous.organisation:
        failures.append(f"{place}: it belongs to another organisation than the entry before it")
    if entry.seq != previous.seq + 1:
        failures.append(f"{place}: it follows entry {previous.seq}; entries were removed, inserted or moved")
    elif entry.previous != previous.hash:
        failures.append(f"{place}: it does not refer to the hash of entry {previous.seq}")
    return failures
