"""The catalogue of unlearning methods."""

from api.client.answers import ask
from api.client.call import get, url_path
from api.client.pages import every
from api.client.resource import Resource, Transport, operation, stream
from api.client.steps import Items, Steps
from core.schema.method_description import MethodDescription
from core.schema.pages import Page


class Methods(Resource[Transport]):
    """`client.methods`: the methods that this service has, with the JSON schema of their parameters."""

    @operation
    def get(self, name: str) -> Steps[MethodDescription]:
        """Returns the method. Raises NotFound."""
        return ask(get(url_path("methods", name)), MethodDescription)

    @stream
    def list(self) -> Items[MethodDescription]:
        """Iterates over all methods, by name."""
        return every(get(url_path("methods")), Page[MethodDescription])
