"""DSSE envelopes: a payload, its type, and signatures over both (github.com/secure-systems-lab/dsse, version 1)."""

from pydantic import Field

from core.schema.strict import Answer


class EnvelopeSignature(Answer):
    """One signature."""

    keyid: str = Field(description="The id of the key, as in `/.well-known/jwks.json`.")
    sig: str = Field(description="The signature in base64.")


class Envelope(Answer):
    """A signed payload."""

    payload: str = Field(description="The signed bytes in base64.")
    payloadType: str = Field(description="The media type of the signed bytes.")
    signatures: list[EnvelopeSignature] = Field(min_length=1, max_length=1, description="The signature.")
