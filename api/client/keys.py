"""API keys of the organisation."""

from collections.abc import Mapping
from typing import Any

from api.client.answers import ask
from api.client.call import create, delete, get, url_path
from api.client.pages import every
from api.client.resource import Resource, Transport, operation, stream
from api.client.steps import Items, Steps
from core.schema.api_keys import Key, KeyRequest, NewKey
from core.schema.pages import Page


class Keys(Resource[Transport]):
    """`client.keys`: who may do what. All but `own` needs the scope `admin`."""

    @operation
    def create(self, request: KeyRequest | Mapping[str, Any], *, idempotency_key: str | None = None) -> Steps[NewKey]:
        """Makes a key of the caller's organisation. Its `key` is shown this once. Raises InvalidRequest."""
        return ask(create(url_path("keys"), request, idempotency_key), NewKey)

    @operation
    def own(self) -> Steps[Key]:
        """Returns the key that this client uses, with its scopes and its organisation."""
        return ask(get(url_path("keys", "self")), Key)

    @operation
    def get(self, key: str) -> Steps[Key]:
        """Returns the key of this id, without its secret. Raises NotFound."""
        return ask(get(url_path("keys", key)), Key)

    @operation
    def page(self, *, limit: int = 20, after: str | None = None) -> Steps[Page[Key]]:
        """Returns one page of the keys, newest first, the revoked ones among them."""
        return ask(get(url_path("keys"), limit=limit, after=after), Page[Key])

    @stream
    def list(self) -> Items[Key]:
        """Iterates over all keys, newest first, the revoked ones among them."""
        return every(get(url_path("keys")), Page[Key])

    @operation
    def revoke(self, key: str) -> Steps[Key]:
        """Revokes the key of this id at once, on other replicas within seconds. Raises NotFound."""
        return ask(delete(url_path("keys", key)), Key)
