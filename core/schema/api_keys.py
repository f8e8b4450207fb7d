"""API keys: what is asked for, what is listed, and the new key that is shown once."""

from datetime import datetime
from typing import Literal, get_args

from pydantic import Field

from core.schema.strict import Answer, Strict
from core.schema.timestamps import UtcDatetime

Scope = Literal[
    "files:write",
    "jobs:write",
    "jobs:read",
    "models:write",
    "models:probe",
    "evidence:read",
    "release:write",
    "admin",
]
SCOPES: tuple[Scope, ...] = get_args(Scope)


class KeyRequest(Strict):
    """The body of `POST /v1/keys`."""

    name: str = Field(min_length=1, max_length=96, examples=["nightly DSR import"], description="what the key is for")
    scopes: list[Scope] = Field(
        min_length=1, max_length=16, examples=[["files:write", "jobs:write"]], description="what the key may do"
    )
    expires_at: UtcDatetime | None = Field(default=None, description="when it expires; null: never")


class Key(Answer):
    """A key as it is listed: its first characters only, never the whole key."""

    id: str = Field(description="the id, `key-…`")
    object: Literal["key"] = Field(default="key", description="always `key`")
    name: str = Field(description="what the key is for")
    prefix: str = Field(description="the first characters of the key")
    organisation: str = Field(description="the organisation that the key belongs to")
    scopes: list[str] = Field(description="what the key may do")
    created_at: datetime = Field(description="when it was created")
    expires_at: datetime | None = Field(description="when it expires; null: never")
    revoked_at: datetime | None = Field(description="when it was revoked; null: it is not revoked")


class NewKey(Key):
    """A new key, with the key itself."""

    key: str = Field(description="the key itself: shown only this once, and stored nowhere", examples=["ulk_…"])
