"""Registered models."""

from collections.abc import Mapping
from typing import Any

from api.client.answers import ask, finish
from api.client.call import create, delete, get, url_path
from api.client.deadline import Deadline
from api.client.pages import every
from api.client.resource import Resource, Transport, operation, stream
from api.client.steps import Items, Sleep, Steps
from core.schema.lineage import LineageEntry
from core.schema.models import Model, ModelRequest
from core.schema.pages import Page

POLL_SECONDS = 0.5


class Models(Resource[Transport]):
    """`client.models`: the models that jobs work on."""

    @operation
    def register(
        self, request: ModelRequest | Mapping[str, Any], *, idempotency_key: str | None = None
    ) -> Steps[Model]:
        """Registers a model and returns it at once, with the status `fetching`; `wait` returns it when it is ready."""
        return ask(create(url_path("models"), request, idempotency_key), Model)

    @operation
    def wait(self, model: str, *, seconds: float | None = None) -> Steps[Model]:
        """Returns the model as soon as its status is `ready` or `failed`. Raises WaitTimeout."""
        deadline = Deadline(seconds, f"the model {model} is still being fetched")
        while True:
            registered = yield from ask(get(url_path("models", model)), Model, deadline)
            if registered.status != "fetching":
                return registered
            deadline.check()
            yield Sleep(deadline.within(POLL_SECONDS))

    @operation
    def get(self, model: str) -> Steps[Model]:
        """Returns the model. Raises NotFound."""
        return ask(get(url_path("models", model)), Model)

    @operation
    def page(self, *, limit: int = 20, after: str | None = None) -> Steps[Page[Model]]:
        """Returns one page of the models, by id."""
        return ask(get(url_path("models"), limit=limit, after=after), Page[Model])

    @stream
    def list(self) -> Items[Model]:
        """Iterates over all models, by id."""
        return every(get(url_path("models")), Page[Model])

    @stream
    def lineage(self, model: str, *, descends_from: str | None = None) -> Items[LineageEntry]:
        """Iterates over the checkpoints that jobs made of the model, newest first."""
        return every(get(url_path("models", model, "lineage"), descends_from=descends_from), Page[LineageEntry])

    @operation
    def delete(self, model: str) -> Steps[None]:
        """Deletes the registration; the model's own files and its checkpoints stay. Raises Conflict."""
        return finish(delete(url_path("models", model)))
