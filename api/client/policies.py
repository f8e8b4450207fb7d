"""Policies: the bounds that models are held to."""

from collections.abc import Mapping
from typing import Any

from api.client.answers import ask, finish
from api.client.call import create, delete, get, url_path
from api.client.pages import every
from api.client.resource import Resource, Transport, operation, stream
from api.client.steps import Items, Steps
from core.schema.pages import Page
from core.schema.policies import Policy
from core.schema.stored_policies import StoredPolicy


class Policies(Resource[Transport]):
    """`client.policies`: named lists of bounds."""

    @operation
    def create(self, policy: Policy | Mapping[str, Any], *, idempotency_key: str | None = None) -> Steps[StoredPolicy]:
        """Stores a policy under its name. It never changes after that. Raises InvalidRequest, Conflict."""
        return ask(create(url_path("policies"), policy, idempotency_key), StoredPolicy)

    @operation
    def get(self, name: str) -> Steps[StoredPolicy]:
        """Returns the policy. Raises NotFound."""
        return ask(get(url_path("policies", name)), StoredPolicy)

    @stream
    def list(self) -> Items[StoredPolicy]:
        """Iterates over all policies by name, the built-in one among them."""
        return every(get(url_path("policies")), Page[StoredPolicy])

    @operation
    def delete(self, name: str) -> Steps[None]:
        """Deletes a policy that no model has pinned. Raises Conflict."""
        return finish(delete(url_path("policies", name)))
