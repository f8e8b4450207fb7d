"""Signatures of webhook messages (Standard Webhooks 1.0), and the encryption of the secrets that make them."""

import base64
import hashlib
import hmac
import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from core.schema.webhook_target import secret_key

_NONCE = 12


def sign(secret: str, message: str, timestamp: int, body: bytes) -> dict[str, str]:
    """Returns the headers `webhook-id`, `webhook-timestamp` and `webhook-signature` of a message."""
    signed = b".".join((message.encode(), str(timestamp).encode(), body))
    signature = base64.b64encode(hmac.digest(secret_key(secret), signed, hashlib.sha256)).decode()
    return {"webhook-id": message, "webhook-timestamp": str(timestamp), "webhook-signature": f"v1,{signature}"}


def seal_secret(secret: str, service_key: bytes, job: str) -> bytes:
    """Returns the secret, encrypted under the service's key for this job alone."""
    nonce = os.urandom(_NONCE)
    return nonce + _cipher(service_key).encrypt(nonce, secret.encode(), job.encode())


def open_secret(sealed: bytes, service_key: bytes, job: str) -> str | None:
    """Returns the secret; None: it was not sealed with this key for this job."""
    try:
        return _cipher(service_key).decrypt(sealed[:_NONCE], sealed[_NONCE:], job.encode()).decode()
    except (InvalidTag, ValueError):  # ValueError: too short to have been sealed at all
        return None


def _cipher(service_key: bytes) -> AESGCM:
    return AESGCM(hmac.digest(service_key, b"unlearning-service webhook secrets v1", hashlib.sha256))
