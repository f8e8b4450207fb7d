"""DSSE envelopes (github.com/secure-systems-lab/dsse): sealed with a private key, opened with public keys."""

import base64
import binascii

from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256

from core.evidence.key_set import BadSignature, find_key, thumbprint, verify_ed25519
from core.schema.envelopes import Envelope, EnvelopeSignature
from core.schema.signing_keys import SigningKey, SigningKeySet

PrivateKey = Ed25519PrivateKey | EllipticCurvePrivateKey


def pre_authentication_encoding(payload: bytes, payload_type: str) -> bytes:
    """Returns the bytes that are signed (DSSE protocol, PAE)."""
    media_type = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(media_type), media_type, len(payload), payload)


def sign(key: PrivateKey, content: bytes) -> bytes:
    """Returns the signature of the content: Ed25519 (RFC 8032), or ECDSA with SHA-256 in DER."""
    return key.sign(content) if isinstance(key, Ed25519PrivateKey) else key.sign(content, ECDSA(SHA256()))


def seal(payload: bytes, payload_type: str, key: PrivateKey) -> Envelope:
    """Returns the payload in an envelope, signed with the key."""
    signature = sign(key, pre_authentication_encoding(payload, payload_type))
    return Envelope(
        payload=base64.b64encode(payload).decode(),
        payloadType=payload_type,
        signatures=[EnvelopeSignature(keyid=thumbprint(key.public_key()), sig=base64.b64encode(signature).decode())],
    )


def open_envelope(envelope: Envelope, payload_type: str, keys: SigningKeySet) -> tuple[bytes, SigningKey]:
    """Returns the payload and the key that signed it. The caller checks that the key was valid at that time.

    BadSignature: the envelope is of another type, or was not signed with one of the keys.
    """
    if envelope.payloadType != payload_type:
        raise BadSignature(f"its type is {envelope.payloadType}, not {payload_type}")
    payload, signature = read_payload(envelope), _decode(envelope.signatures[0].sig, "signature")
    key = find_key(keys, envelope.signatures[0].keyid, "evidence")
    verify_ed25519(key, signature, pre_authentication_encoding(payload, payload_type))
    return payload, key


def read_payload(envelope: Envelope) -> bytes:
    """Returns the payload without a check of its signature. BadSignature: it is not base64."""
    return _decode(envelope.payload, "payload")


def _decode(text: str, name: str) -> bytes:
    """Returns the bytes. BadSignature: the text is not the one base64 form of them (RFC 4648, section 3.5)."""
    try:
        content = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise BadSignature(f"its {name} is not base64") from None
    if base64.b64encode(content).decode() != text:
        raise BadSignature(f"its {name} is not written as base64 writes it: it was changed")
    return content
