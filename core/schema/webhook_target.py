"""The webhook of a job: the URL that its end is reported to, and the secret that signs the reports."""

import base64
import binascii

from pydantic import Field, HttpUrl, SecretStr, field_validator

from core.schema.errors import DomainError, OwnWords
from core.schema.strict import Answer, Strict

SECRET_PREFIX = "whsec_"  # noqa: S105 - the public prefix of every secret
MAX_URL = 2048


class UnusableWebhook(DomainError):
    """The service sends nothing to this URL."""

    status, problem, pointer = 422, "unusable-webhook", "/webhook/url"

    def __init__(self, reason: OwnWords) -> None:
        self.detail = reason
        super().__init__()


class WebhookTarget(Strict):
    """Where the end of a job is reported to (docs/webhooks.md)."""

    url: HttpUrl = Field(
        max_length=MAX_URL,
        description="The address that messages are sent to: `https`, and public, unless the operator allows others.",
        examples=["https://hooks.example.org/unlearning"],
    )
    secret: SecretStr = Field(
        max_length=256,
        description="The key of the messages' signatures: `whsec_` and the base64 of 24 to 64 random bytes. The"
        " service keeps it encrypted and never shows it.",
        examples=["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"],
    )

    @field_validator("url")
    @classmethod
    def _is_plain(cls, url: HttpUrl) -> HttpUrl:
        if url.username is not None or url.password is not None:
            raise ValueError("a name or a password in the URL is not sent: sign with the secret instead")
        if url.fragment is not None:
            raise ValueError("a fragment ('#…') is never sent: leave it out")
        return url

    @field_validator("secret")
    @classmethod
    def _is_a_key(cls, secret: SecretStr) -> SecretStr:
        secret_key(secret.get_secret_value())
        return secret


class WebhookUsed(Answer):
    """The webhook of a job. The secret is never shown."""

    url: str = Field(description="The address that messages are sent to.")


def secret_key(secret: str) -> bytes:
    """Returns the key that a secret stands for. ValueError: it is not `whsec_` and the base64 of 24 to 64 bytes."""
    encoded = secret.removeprefix(SECRET_PREFIX)
    try:
        key = base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if encoded == secret or not 24 <= len(key) <= 64:
        raise ValueError("the secret is 'whsec_' and the base64 of 24 to 64 random bytes")
    return key
