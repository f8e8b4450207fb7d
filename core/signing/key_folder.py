"""The folder of the signer's private keys. Only the signer can read it: not the API, not a worker."""

import os
import time
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from core.evidence.envelope import PrivateKey
from core.evidence.key_set import thumbprint, to_pem
from core.schema.signing_keys import Purpose


class KeyMissing(Exception):
    """The file of a private key is not in the folder."""

    def __init__(self, id: str) -> None:
        super().__init__(f"the private key {id} is not in the folder of keys: restore its file, or rotate the keys")


class KeyFolder:
    """One file per private key, `<id>.pem`, mode 0600, in a folder of mode 0700."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._alive = path / "alive"

    def create(self, purpose: Purpose) -> tuple[str, str]:
        """Makes a key of the purpose's kind and stores it; returns its id and its public key in PEM."""
        self._path.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._path.chmod(0o700)
        key: PrivateKey
        # OpenSSF model-signing verifies elliptic curve keys only
        key = Ed25519PrivateKey.generate() if purpose == "evidence" else ec.generate_private_key(ec.SECP256R1())
        id = thumbprint(key.public_key())
        draft = self._path / f".{id}.draft"
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
            file.flush()
            os.fsync(file.fileno())
        draft.replace(self._file(id))
        return id, to_pem(key.public_key())

    def load(self, id: str) -> PrivateKey:
        """Returns the private key. KeyMissing."""
        try:
            content = self._file(id).read_bytes()
        except FileNotFoundError:
            raise KeyMissing(id) from None
        key = load_pem_private_key(content, password=None)
        if not isinstance(key, Ed25519PrivateKey | EllipticCurvePrivateKey) or thumbprint(key.public_key()) != id:
            raise KeyMissing(id)
        return key

    def delete(self, id: str) -> None:
        """Deletes a private key that must sign nothing any more."""
        self._file(id).unlink(missing_ok=True)

    def mark_alive(self) -> None:
        """Gives a sign of life of the signer that uses this folder."""
        self._path.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._alive.touch()

    def seconds_since_alive(self) -> float | None:
        """Returns the seconds since the last sign of life. None: there was none."""
        try:
            return time.time() - self._alive.stat().st_mtime
        except FileNotFoundError:
            return None

    def _file(self, id: str) -> Path:
        return self._path / f"{id}.pem"
