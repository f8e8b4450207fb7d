"""Envelopes open with the key that sealed them, and with one changed character they do not."""

import base64
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from securesystemslib.dsse import Envelope as OtherEnvelope
from securesystemslib.signer import SSlibKey

from core.evidence.envelope import open_envelope, seal
from core.evidence.key_set import BadSignature, check_validity, describe_key, thumbprint, to_pem
from core.schema.envelopes import Envelope
from core.schema.signing_keys import SigningKey, SigningKeySet

TYPE = "application/vnd.in-toto+json"
PAYLOAD = b'{"figure":0.1234567890123456789}'
NOW = datetime(2026, 11, 28, tzinfo=UTC)
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))


def public_key(key: Ed25519PrivateKey = KEY, **more: Any) -> SigningKey:
    times: dict[str, Any] = {"not_before": NOW, "not_after": None, "revoked_at": None, "revocation_reason": None}
    return describe_key(to_pem(key.public_key()), "evidence", **times | more)


KEYS = SigningKeySet(keys=[public_key()])


def test_an_envelope_opens_with_its_key() -> None:
    payload, key = open_envelope(seal(PAYLOAD, TYPE, KEY), TYPE, KEYS)
    assert (payload, key.kid) == (PAYLOAD, thumbprint(KEY.public_key()))


def test_another_implementation_accepts_the_envelope() -> None:
    envelope = OtherEnvelope.from_dict(seal(PAYLOAD, TYPE, KEY).model_dump())
    pem = KEYS.keys[0].pem.encode()
    other = SSlibKey.from_crypto(load_pem_public_key(pem), KEYS.keys[0].kid)
    assert list(envelope.verify([other], 1)) == [KEYS.keys[0].kid]
    assert envelope.payload == PAYLOAD


def test_the_key_is_a_json_web_key_whose_id_is_its_thumbprint() -> None:
    """The key and the thumbprint of RFC 8037, appendix A."""
    private = base64.urlsafe_b64decode("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A=")
    key = public_key(Ed25519PrivateKey.from_private_bytes(private))
    assert (key.kty, key.crv, key.x) == ("OKP", "Ed25519", "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo")
    assert key.kid == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"


@pytest.mark.parametrize("field", ["payload", "sig", "keyid", "payloadType"])
def test_every_changed_character_is_found(field: str) -> None:
    envelope = seal(PAYLOAD, TYPE, KEY).model_dump()
    part = envelope if field in envelope else envelope["signatures"][0]
    text = part[field]
    for place, character in enumerate(text):
        part[field] = text[:place] + ("A" if character != "A" else "B") + text[place + 1 :]
        with pytest.raises(BadSignature):
            open_envelope(Envelope.model_validate(envelope), TYPE, KEYS)


def test_a_key_of_another_signer_does_not_count() -> None:
    with pytest.raises(BadSignature, match="which the key file does not hold"):
        open_envelope(seal(PAYLOAD, TYPE, Ed25519PrivateKey.generate()), TYPE, KEYS)
    other = public_key(Ed25519PrivateKey.generate()).model_copy(update={"kid": KEYS.keys[0].kid})
    with pytest.raises(BadSignature, match="another key under the id"):
        open_envelope(seal(PAYLOAD, TYPE, KEY), TYPE, SigningKeySet(keys=[other]))


def test_a_signature_counts_while_its_key_was_in_use_and_not_revoked() -> None:
    hour = timedelta(hours=1)
    retired = public_key(not_after=NOW + hour)
    check_validity(retired, NOW)
    check_validity(retired, NOW + hour)
    for outside in (NOW - hour, NOW + 2 * hour):
        with pytest.raises(BadSignature, match="not in use"):
            check_validity(retired, outside)
    revoked = public_key(revoked_at=NOW + hour, revocation_reason="stolen laptop")
    with pytest.raises(BadSignature, match=r"revoked at 2026-11-28T01:00:00.*stolen laptop"):
        check_validity(revoked, NOW)
