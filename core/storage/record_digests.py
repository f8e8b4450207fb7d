"""Keyed digests of records to forget. They tell whether a later job's record is one of them, and give no text away."""

import hashlib
import json
import sys
from array import array
from bisect import bisect_left
from collections.abc import Iterable

from core.schema.record import Record
from core.storage.file_keys import FileKeys

DIGEST_BYTES = 8
"""Of a million records, one in twenty million others is taken for one of them by mistake, and left out of training."""


def record_digest(record: Record, keys: FileKeys) -> bytes:
    """Returns the digest of the record's own texts in normal form, under the service key.

    Id, subject, probes and the record's shape do not count.
    """
    return _digest([record.normal_text()], keys)


def _trimmed_digest(record: Record, keys: FileKeys) -> bytes:
    """Returns the digest that jobs kept before texts were brought into normal form."""
    return _digest([text.strip() for text in record.texts()], keys)


def _digest(texts: list[str], keys: FileKeys) -> bytes:
    content = json.dumps(["record to forget", *texts], ensure_ascii=False, separators=(",", ":"))
    return bytes.fromhex(keys.blind(hashlib.sha256(content.encode()).hexdigest()))[:DIGEST_BYTES]


def key_check(keys: FileKeys) -> bytes:
    """Returns a value of the service key alone, without which nobody can tell that digests fit a key."""
    return bytes.fromhex(keys.blind(hashlib.sha256(b"key check of records to forget").hexdigest()))[:DIGEST_BYTES]


class DigestSet:
    """The digests of many records, in eight bytes each."""

    def __init__(self, joined: Iterable[bytes]) -> None:
        """`joined` holds the digests of each job, one after the other."""
        numbers = array("Q")
        for digests in joined:
            numbers.frombytes(digests)
        self._sorted = array("Q", sorted(numbers))

    def __len__(self) -> int:
        return len(self._sorted)

    def finds(self, record: Record, keys: FileKeys) -> bool:
        """True if the record's digest is among these. Digests of older jobs have another form, which is tried, too."""
        return record_digest(record, keys) in self or _trimmed_digest(record, keys) in self

    def __contains__(self, digest: bytes) -> bool:
        number = int.from_bytes(digest, sys.byteorder)
        place = bisect_left(self._sorted, number)
        return place < len(self._sorted) and self._sorted[place] == number
