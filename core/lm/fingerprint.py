"""The fingerprint of the job that a snapshot belongs to. Nobody can guess the records' text from it."""

import hashlib
import hmac
import secrets
from dataclasses import dataclass
from typing import Any

from core.schema.strict import Strict


class StoredFingerprint(Strict):
    """A fingerprint as it is stored in a snapshot."""

    facts: dict[str, Any]
    salt: str  # hex
    private: str  # hex: the private digest, keyed with the salt


@dataclass(frozen=True)
class Fingerprint:
    """`facts` are JSON and not secret. `private` is a digest of the records, stored in salted form only."""

    facts: dict[str, Any]
    private: bytes

    def stored(self) -> StoredFingerprint:
        salt = secrets.token_bytes(32)
        return StoredFingerprint(facts=self.facts, salt=salt.hex(), private=self._salted(salt))

    def differences(self, stored: StoredFingerprint) -> list[str]:
        """Returns the names of the facts that differ from a stored fingerprint, `records` for the private part.

        Empty: the snapshot belongs to this job.
        """
        names = sorted(self.facts.keys() | stored.facts.keys())
        differing = [name for name in names if self.facts.get(name) != stored.facts.get(name)]
        if not hmac.compare_digest(self._salted(bytes.fromhex(stored.salt)), stored.private):
            differing.append("records")
        return differing

    def _salted(self, salt: bytes) -> str:
        return hmac.new(salt, self.private, hashlib.sha256).hexdigest()
