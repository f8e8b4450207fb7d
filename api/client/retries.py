"""Repeated calls: which failures are worth another attempt, and how long to pause before it."""

import random
from dataclasses import dataclass

from api.client.call import Call
from api.client.errors import Conflict, NoAnswer, RateLimited, ServiceError, Unavailable, UnlearningError

_STATEMENT_FAILED = "statement-failed"
"""A problem that asks for minutes of patience: a caller who is told of it at once can decide better."""


@dataclass(frozen=True)
class Retries:
    """The number of attempts at a call, and the pauses between them: each up to twice as long as the one before."""

    attempts: int = 5
    first_pause: float = 0.5
    longest_pause: float = 60.0
    """Seconds. A service that asks for a longer pause ends the attempts."""

    def pause(self, failures: int, error: UnlearningError) -> float:
        """Returns the seconds to wait after so many failures in a row. Raises the error where no attempt is left."""
        asked = error.retry_after or 0.0
        if failures >= self.attempts or asked > self.longest_pause:
            raise error
        backoff = min(self.longest_pause, self.first_pause * 2.0 ** (failures - 1))
        return max(asked, backoff * random.uniform(0.5, 1.0))  # clients that failed together come back one by one


def may_repeat(call: Call, error: UnlearningError) -> bool:
    """Returns whether another attempt may succeed and cannot do the call's work twice."""
    if isinstance(error, NoAnswer):
        return call.repeatable or not error.sent
    if isinstance(error, Conflict):  # the first request is still under way, or the signer has not signed yet
        return call.repeatable and error.retry_after is not None and error.problem != _STATEMENT_FAILED
    if isinstance(error, RateLimited | Unavailable):
        return call.repeatable or _put_off(error)
    return False


def may_have_worked(error: UnlearningError) -> bool:
    """Returns whether the service may have done the work of a call that ended with this error."""
    if isinstance(error, NoAnswer):
        return error.sent
    return isinstance(error, ServiceError) and not _put_off(error)


def _put_off(error: ServiceError) -> bool:
    """Returns whether the answer tells that the request was put off before any of its work was done.

    A 503 tells it in the service's own words only: a proxy answers 503 for a request that it has passed on, too.
    """
    return error.status == 429 or (error.status == 503 and error.problem != "")
