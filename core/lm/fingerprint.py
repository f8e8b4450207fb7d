"""What a snapshot belongs to, told so that nobody can guess from it what the records say."""

import hashlib
import hmac
import secrets
from dataclasses import dataclass
from typing import Any

from core.schema.strict import Strict


class StoredFingerprint(Strict):
    """A fingerprint as it lies beside what it belongs to."""

    facts: dict[str, Any]
    salt: str
    private: str


@dataclass(frozen=True)
class Fingerprint:
    """`facts` are JSON and may be read by anybody; `private` is a digest of which only a salted one is ever stored."""

    facts: dict[str, Any]
    private: bytes

    def stored(self) -> StoredFingerprint:
        salt = secrets.token_bytes(32)
        return StoredFingerprint(facts=self.facts, salt=salt.hex(), private=self._salted(salt))

    def differences(self, stored: StoredFingerprint) -> list[str]:
        """The names of what is another now than it was then, `records` for the private part; empty: it belongs here."""
        names = sorted(self.facts.keys() | stored.facts.keys())
        differing = [name for name in names if self.facts.get(name) != stored.facts.get(name)]
        if not hmac.compare_digest(self._salted(bytes.fromhex(stored.salt)), stored.private):
            differing.append("records")
        return differing

    def _salted(self, salt: bytes) -> str:
        return hmac.new(salt, self.private, hashlib.sha256).hexdigest()
