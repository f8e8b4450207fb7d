"""Operations as generators of steps, written once for the blocking and the asynchronous client.

An operation yields steps and gets the reply to each. It returns its result, and may emit items on the way. A transport
(transport.py) performs the steps: one by blocking, one by awaiting.
"""

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import httpx

from api.client.call import Call
from api.client.deadline import NEVER, Deadline
from api.client.errors import NotFound, UnlearningError
from api.client.retries import may_have_worked, may_repeat

S = TypeVar("S")
T = TypeVar("T")


@dataclass(frozen=True)
class Send:
    """Sends the call once. Reply: the answer, read to its end.

    Raises ServiceError, NoAnswer, UnexpectedAnswer.
    """

    call: Call


@dataclass(frozen=True)
class Open:
    """Sends the call once and closes the answer that is open. Reply: the answer, whose body `Read` gives.

    Raises ServiceError, NoAnswer, UnexpectedAnswer.
    """

    call: Call
    follow_redirects: bool = False
    """True where the answer may come from elsewhere, such as an object store. Another host does not get the key."""


@dataclass(frozen=True)
class Read:
    """Reply: the next bytes of the open answer; None: it is at its end. Raises NoAnswer."""


@dataclass(frozen=True)
class Pause:
    """Waits before another attempt after so many failures in a row.

    Raises the error where no attempt is left, and WaitTimeout where the deadline comes before the attempt.
    """

    failures: int
    error: UnlearningError
    deadline: Deadline = NEVER


@dataclass(frozen=True)
class Sleep:
    """Waits for a number of seconds."""

    seconds: float


@dataclass(frozen=True)
class Work:
    """Calls a function that takes long, such as the hashing of a large file. Reply: its result."""

    function: Callable[[], Any]


@dataclass(frozen=True)
class Emit(Generic[T]):
    """Hands an item of a stream to the caller."""

    item: T


Step = Send | Open | Read | Pause | Sleep | Work
Steps = Generator[Step, Any, T]
"""An operation whose result is a T."""
Items = Generator[Step | Emit[T], Any, None]
"""An operation that emits items, each a T."""


@dataclass(frozen=True)
class Result(Generic[T]):
    """The end of an operation."""

    value: T


def advance(steps: Generator[S, Any, T], reply: Any = None) -> S | Result[T]:
    """Gives the reply to the operation and returns its next step, or its result."""
    try:
        return steps.send(reply)
    except StopIteration as end:
        return Result(end.value)


def fail(steps: Generator[S, Any, T], error: Exception) -> S | Result[T]:
    """Raises the error in the operation, where its step failed, and returns its next step, or its result."""
    try:
        return steps.throw(error)
    except StopIteration as end:
        return Result(end.value)


def send(call: Call, deadline: Deadline = NEVER) -> Steps[httpx.Response]:
    """Sends the call, again where that may help and cannot do its work twice.

    Raises ServiceError, NoAnswer, UnexpectedAnswer, and WaitTimeout in a pause before another attempt.
    """
    failures = 0
    maybe_done = False
    while True:
        try:
            answer: httpx.Response = yield Send(call)
            return answer
        except NotFound:
            if call.method == "DELETE" and maybe_done:  # an earlier attempt has deleted it, and its answer was lost
                return httpx.Response(204)
            raise
        except UnlearningError as error:
            if not may_repeat(call, error):
                raise
            failures += 1
            maybe_done = maybe_done or may_have_worked(error)
            yield Pause(failures, error, deadline)
