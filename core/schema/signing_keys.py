"""Public keys of the signer, as JSON Web Keys (RFC 7517) with the times between which their signatures count."""

from typing import Literal

from pydantic import AwareDatetime, Field

from core.schema.strict import Answer

Purpose = Literal["evidence", "model"]
PURPOSES: tuple[Purpose, ...] = ("evidence", "model")


class SigningKey(Answer):
    """A public key of the signer."""

    kid: str = Field(description="The key's id: its JWK thumbprint (RFC 7638).")
    use: Literal["sig"] = Field(default="sig", description="Always `sig`: the key checks signatures.")
    kty: Literal["OKP", "EC"] = Field(description="`OKP`: an Edwards curve. `EC`: a NIST curve.")
    crv: Literal["Ed25519", "P-256"] = Field(description="The curve.")
    alg: Literal["EdDSA", "ES256"] = Field(description="The signature's algorithm.")
    x: str = Field(description="The public key, or its x coordinate, in base64url.")
    y: str | None = Field(default=None, description="The y coordinate, in base64url. Null for an Edwards curve.")
    pem: str = Field(description="The same public key in PEM, for programs that read no JSON Web Keys.")
    purpose: Purpose = Field(
        description="`evidence`: it signs statements and heads of audit logs. `model`: it signs checkpoints in the"
        " format of OpenSSF model-signing."
    )
    not_before: AwareDatetime = Field(description="From when the key signs.")
    not_after: AwareDatetime | None = Field(
        description="Until when the key signed: another key has taken its place. Earlier signatures stay valid."
        " Null: it signs now."
    )
    revoked_at: AwareDatetime | None = Field(
        description="When the key was revoked. From then on none of its signatures count. Null: it is not revoked."
    )
    revocation_reason: str | None = Field(description="Why the key was revoked.")


class SigningKeySet(Answer):
    """All public keys that the signer has ever had."""

    keys: list[SigningKey] = Field(description="The keys, newest first.")
