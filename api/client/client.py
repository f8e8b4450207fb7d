"""The two clients of the service: one blocks, one is asynchronous. They have the same resources and methods."""

import os
from types import TracebackType
from typing import Generic, Self

from api.client.audit import Audit
from api.client.checkpoints import Checkpoints
from api.client.errors import NoServiceNamed
from api.client.files import Files
from api.client.jobs import Jobs
from api.client.keys import Keys
from api.client.measurements import Measurements
from api.client.methods import Methods
from api.client.models import Models
from api.client.policies import Policies
from api.client.reports import Reports
from api.client.resource import Transport
from api.client.retries import Retries
from api.client.statements import Statements
from api.client.transport import AsyncTransport, BlockingTransport
from api.client.webhooks import Webhooks

URL, KEY = "UNLEARN_URL", "UNLEARN_KEY"
"""The variables of the environment that name the service and the key where the caller does not."""


class Resources(Generic[Transport]):
    """The resources of the API, over one transport."""

    def __init__(self, transport: Transport) -> None:
        self.audit: Audit[Transport] = Audit(transport)
        self.checkpoints: Checkpoints[Transport] = Checkpoints(transport)
        self.files: Files[Transport] = Files(transport)
        self.jobs: Jobs[Transport] = Jobs(transport)
        self.keys: Keys[Transport] = Keys(transport)
        self.measurements: Measurements[Transport] = Measurements(transport)
        self.methods: Methods[Transport] = Methods(transport)
        self.models: Models[Transport] = Models(transport)
        self.policies: Policies[Transport] = Policies(transport)
        self.reports: Reports[Transport] = Reports(transport)
        self.statements: Statements[Transport] = Statements(transport)
        self.webhooks: Webhooks[Transport] = Webhooks(transport)


class UnlearningClient(Resources[BlockingTransport]):
    """A client whose methods return when they are done. Use it in a `with` block; threads may share it.

    All its methods raise UnlearningError: ServiceError where the service refuses, NoAnswer where it is silent after all
    attempts.
    """

    def __init__(self, url: str | None = None, key: str | None = None, *, retries: Retries | None = None) -> None:
        """`url` and `key` default to UNLEARN_URL and UNLEARN_KEY.

        Raises NoServiceNamed where one is missing, NotSendable for a URL of a wrong form.
        """
        self._transport = BlockingTransport(*_named(url, key), retries or Retries())
        super().__init__(self._transport)

    def close(self) -> None:
        """Closes the connections."""
        self._transport.http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class AsyncUnlearningClient(Resources[AsyncTransport]):
    """A client whose methods are awaited. Use it in an `async with` block of one event loop.

    It has the resources, methods and errors of UnlearningClient; iterators are asynchronous.
    """

    def __init__(self, url: str | None = None, key: str | None = None, *, retries: Retries | None = None) -> None:
        """`url` and `key` default to UNLEARN_URL and UNLEARN_KEY.

        Raises NoServiceNamed where one is missing, NotSendable for a URL of a wrong form.
        """
        self._transport = AsyncTransport(*_named(url, key), retries or Retries())
        super().__init__(self._transport)

    async def close(self) -> None:
        """Closes the connections."""
        await self._transport.http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


def _named(url: str | None, key: str | None) -> tuple[str, str]:
    url, key = url or os.environ.get(URL), key or os.environ.get(KEY)
    if not url or not key:
        raise NoServiceNamed(f"no service is named: set {URL} and {KEY}, or give url and key")
    return url, key
