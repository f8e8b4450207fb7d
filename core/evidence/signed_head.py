"""Signed heads of audit logs: the signer's word that a log had this newest entry at this time."""

import json
from datetime import datetime

from pydantic import AwareDatetime, ValidationError

from core.evidence.envelope import PrivateKey, open_envelope, seal
from core.evidence.key_set import BadSignature, check_validity
from core.schema.audit import AuditHead, rfc3339
from core.schema.envelopes import Envelope
from core.schema.signing_keys import SigningKeySet

PAYLOAD_TYPE = "application/vnd.unlearning-service.audit-head+json"


class SignedHead(AuditHead):
    """The content of a signed head."""

    signed_at: AwareDatetime


def sign_head(head: AuditHead, key: PrivateKey, *, signed_at: datetime) -> Envelope:
    """Returns the head, signed."""
    content = {**head.model_dump(), "signed_at": rfc3339(signed_at)}
    payload = json.dumps(content, sort_keys=True, separators=(",", ":")).encode()
    return seal(payload, PAYLOAD_TYPE, key)


def open_head(envelope: Envelope, keys: SigningKeySet) -> SignedHead:
    """Returns the head that was signed. BadSignature: the signature does not count."""
    payload, key = open_envelope(envelope, PAYLOAD_TYPE, keys)
    try:
        head = SignedHead.model_validate_json(payload)
    except ValidationError:
        raise BadSignature("what it signs is not the head of an audit log") from None
    check_validity(key, head.signed_at)
    return head
