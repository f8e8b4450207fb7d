"""Errors of the domain. Each class carries the answer that a client of the service gets."""

from typing import Annotated, ClassVar

Identifier = Annotated[str, "an id, a name or a state: never a record's text"]
OwnWords = Annotated[str, "a sentence of the service, which quotes nothing of a record"]


class DomainError(Exception):
    """An error that a client is told about.

    `str(error)` is the message for the operator's log; it defaults to `detail`. Neither holds a record's text. A
    parameter of a constructor that goes into `detail` is annotated as Identifier or OwnWords.
    """

    status: ClassVar[int]
    """The HTTP status of the answer."""
    problem: str
    """The name of the kind of problem, for programs, such as `in-use`."""
    detail: str
    """What is wrong and what to do next, for people."""
    pointer: ClassVar[str | None] = None
    """JSON pointer to the field of the request that is at fault; None: no single field is."""
    retry_after: float | None = None
    """Seconds after which the same request may succeed; None: unknown."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(self.detail if message is None else message)
