"""The client of the service's HTTP API (docs/client.md): `UnlearningClient` and `AsyncUnlearningClient`.

It loads neither FastAPI nor torch. The `unlearn` command uses it.
"""

from api.client.client import AsyncUnlearningClient, UnlearningClient
from api.client.errors import (
    Conflict,
    DigestMismatch,
    FieldFault,
    Forbidden,
    InvalidRequest,
    NoAnswer,
    NoServiceNamed,
    NotAnId,
    NotFound,
    NotSendable,
    PartInUse,
    RateLimited,
    ServiceError,
    Unauthenticated,
    Unavailable,
    UnexpectedAnswer,
    UnlearningError,
    WaitTimeout,
)
from api.client.event_stream import ServerSentEvent
from api.client.retries import Retries

__all__ = [
    "AsyncUnlearningClient",
    "Conflict",
    "DigestMismatch",
    "FieldFault",
    "Forbidden",
    "InvalidRequest",
    "NoAnswer",
    "NoServiceNamed",
    "NotAnId",
    "NotFound",
    "NotSendable",
    "PartInUse",
    "RateLimited",
    "Retries",
    "ServerSentEvent",
    "ServiceError",
    "Unauthenticated",
    "Unavailable",
    "UnexpectedAnswer",
    "UnlearningClient",
    "UnlearningError",
    "WaitTimeout",
]
