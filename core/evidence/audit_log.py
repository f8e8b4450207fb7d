"""The check of an exported audit log: every entry's hash, and the chain that the hashes form."""

from collections.abc import Iterable

from pydantic import ValidationError

from core.evidence.findings import Findings
from core.schema.audit import FIRST_PREVIOUS, AuditEntry, AuditLine, entry_hash

LISTED_FAILURES = 20
"""Most failures that are named: one changed entry is one failure, a replaced file would be thousands."""


def check_audit_log(lines: Iterable[bytes]) -> Findings:
    """Checks the lines of `GET /v1/audit/export` and names each entry that was changed, removed or inserted."""
    findings = Findings()
    previous: AuditEntry | None = None
    count = 0
    for number, line in enumerate(lines, 1):
        if len(findings.failures) >= LISTED_FAILURES:
            findings.unchecked.append(f"the lines from {number} on: too much is wrong already")
            break
        try:
            entry = AuditLine.model_validate_json(line).entry
        except ValidationError:
            findings.failures.append(f"line {number}: it is not an entry of an audit log")
            continue
        count += 1
        findings.failures += _check_entry(entry, previous, number)
        if previous is None and entry.seq > 1:
            findings.unchecked.append(f"the entries 1 to {entry.seq - 1}: the file begins after them")
        previous = entry
    if previous is None:
        findings.unchecked.append("any entry: the file holds none")
    elif findings.holds:
        findings.checked.append(
            f"{count} entries of {previous.organisation}: each hash is right, and no entry up to number {previous.seq}"
            f" was changed, removed or inserted, if the hash of entry {previous.seq} is {previous.hash}"
        )
    return findings


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
