"""A request to the service before it is sent. It can be sent again as the same request."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Any, BinaryIO
from urllib.parse import quote
from uuid import uuid4

from pydantic import BaseModel

from api.client.errors import NotAnId

SAFE_METHODS = ("GET", "DELETE")
"""Methods that do nothing more when they are repeated (RFC 9110, section 9.2.2)."""


@dataclass(frozen=True)
class Upload:
    """An open file to send from its beginning, and the purpose that its records are for."""

    file: BinaryIO
    filename: str
    purpose: str


@dataclass(frozen=True)
class Call:
    """A request: its method, path and parameters, and either a JSON body or an upload."""

    method: str
    path: str
    query: Mapping[str, Any] = field(default_factory=dict)
    """Parameters of the URL; those that are None are left out."""
    headers: Mapping[str, str] = field(default_factory=dict)
    body: BaseModel | Mapping[str, Any] | None = None
    upload: Upload | None = None

    @property
    def repeatable(self) -> bool:
        """True where the service does the work once, however often the request reaches it."""
        return self.method in SAFE_METHODS or "Idempotency-Key" in self.headers

    def with_headers(self, headers: Mapping[str, str]) -> "Call":
        """Returns the same request with further headers."""
        return replace(self, headers={**self.headers, **headers})

    def query_text(self) -> dict[str, str]:
        """Returns the parameters as they are written in a URL."""
        return {name: _text(value) for name, value in self.query.items() if value is not None}

    def content(self) -> bytes | None:
        """Returns the JSON of the body. A model's fields that were not set are left to the service's defaults."""
        if self.upload is not None or self.method != "POST":
            return None
        if isinstance(self.body, BaseModel):
            return self.body.model_dump_json(by_alias=True, exclude_unset=True).encode()
        return json.dumps(dict(self.body or {})).encode()


def get(path: str, **query: Any) -> Call:
    """Returns a GET request."""
    return Call("GET", path, query)


def delete(path: str) -> Call:
    """Returns a DELETE request."""
    return Call("DELETE", path)


def post(path: str, body: BaseModel | Mapping[str, Any] | None = None) -> Call:
    """Returns a POST request whose repetition may do its work again."""
    return Call("POST", path, body=body, headers={"Content-Type": "application/json"})


def create(path: str, content: BaseModel | Mapping[str, Any] | Upload, idempotency_key: str | None) -> Call:
    """Returns a POST request that makes something, and makes it once. Without a key of the caller's it gets its own."""
    key = {"Idempotency-Key": idempotency_key or uuid4().hex}
    if isinstance(content, Upload):
        return Call("POST", path, headers=key, upload=content)
    return Call("POST", path, headers={"Content-Type": "application/json", **key}, body=content)


def url_path(*parts: str) -> str:
    """Returns the path of a resource below `/v1`. Raises NotAnId."""
    if unusable := [part for part in parts if part in ("", ".", "..")]:
        raise NotAnId(f"'{unusable[0]}' is not an id")
    return "/v1/" + "/".join(quote(part, safe="") for part in parts)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return value.isoformat() if isinstance(value, date) else str(value)
