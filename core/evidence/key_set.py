"""Public keys, and whether a signature of theirs counts: by its bytes, its time, and revocation."""

import base64
import hashlib
import json
from datetime import datetime

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

from core.schema.signing_keys import Purpose, SigningKey, SigningKeySet

PublicKey = Ed25519PublicKey | EllipticCurvePublicKey


class BadSignature(Exception):
    """A signature does not count; the message says why."""


def thumbprint(key: PublicKey) -> str:
    """Returns the key's id: the sha256 of its required JWK members (RFC 7638), in base64url."""
    members = json.dumps(_members(key), sort_keys=True, separators=(",", ":"))
    return _base64url(hashlib.sha256(members.encode()).digest())


def to_pem(key: PublicKey) -> str:
    """Returns the key as SubjectPublicKeyInfo in PEM."""
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def describe_key(
    pem: str,
    purpose: Purpose,
    *,
    not_before: datetime,
    not_after: datetime | None,
    revoked_at: datetime | None,
    revocation_reason: str | None,
) -> SigningKey:
    """Returns the JSON Web Key of a public key."""
    key = load_public_key(pem)
    times = {"not_before": not_before, "not_after": not_after, "revoked_at": revoked_at}
    algorithm = "EdDSA" if isinstance(key, Ed25519PublicKey) else "ES256"
    return SigningKey.model_validate(
        {
            **_members(key),
            **times,
            **{"kid": thumbprint(key), "alg": algorithm, "pem": pem, "purpose": purpose},
            "revocation_reason": revocation_reason,
        }
    )


def load_public_key(pem: str) -> PublicKey:
    """Returns the key. ValueError: it is no key of the kinds that the signer uses."""
    key = load_pem_public_key(pem.encode())
    if not isinstance(key, Ed25519PublicKey | EllipticCurvePublicKey):
        raise ValueError("neither an Ed25519 key nor an elliptic curve key")
    return key


def find_key(keys: SigningKeySet, kid: str, purpose: Purpose) -> SigningKey:
    """Returns the key of this id. BadSignature: there is none, it is for another purpose, or it is not what it says."""
    key = next((key for key in keys.keys if key.kid == kid), None)
    if key is None:
        raise BadSignature(f"it names the key {kid}, which the key file does not hold")
    try:
        public_key = load_public_key(key.pem)
    except (ValueError, UnsupportedAlgorithm):
        raise BadSignature(f"the key {kid} of the key file cannot be read") from None
    if thumbprint(public_key) != kid:
        raise BadSignature(f"the key file holds another key under the id {kid}")
    if key.purpose != purpose:
        raise BadSignature(f"the key {kid} is for another purpose ({key.purpose})")
    return key


def check_validity(key: SigningKey, signed_at: datetime) -> None:
    """BadSignature: the key was revoked, or did not sign at that time."""
    if key.revoked_at is not None:
        raise BadSignature(
            f"the key {key.kid} was revoked at {key.revoked_at.isoformat()} ({key.revocation_reason}): ask for a new"
            " signature"
        )
    if signed_at < key.not_before or (key.not_after is not None and signed_at > key.not_after):
        raise BadSignature(
            f"it says that it was made at {signed_at.isoformat()}, when the key {key.kid} was not in use"
        )


def verify_ed25519(key: SigningKey, signature: bytes, content: bytes) -> None:
    """BadSignature: the signature is not one of this key over the content."""
    public_key = load_public_key(key.pem)
    try:
        if not isinstance(public_key, Ed25519PublicKey):
            raise BadSignature(f"the key {key.kid} is not an Ed25519 key")
        public_key.verify(signature, content)
    except InvalidSignature:
        raise BadSignature(
            f"it is not one of the key {key.kid} over these bytes: the signature or what it signs was changed"
        ) from None


def _members(key: PublicKey) -> dict[str, str]:
    """Returns the required members of the key's JWK (RFC 7518 section 6.2, RFC 8037 section 2)."""
    if isinstance(key, Ed25519PublicKey):
        return {"kty": "OKP", "crv": "Ed25519", "x": _base64url(key.public_bytes(Encoding.Raw, PublicFormat.Raw))}
    numbers = key.public_numbers()
    coordinates = {"x": numbers.x.to_bytes(32, "big"), "y": numbers.y.to_bytes(32, "big")}
    return {"kty": "EC", "crv": "P-256", **{name: _base64url(value) for name, value in coordinates.items()}}


def _base64url(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()
