"""The end of a wait."""

import time

from api.client.errors import WaitTimeout


class Deadline:
    """The moment after which a wait is given up with a message; None seconds: never."""

    def __init__(self, seconds: float | None, message: str = "") -> None:
        self._message = message
        self._at = None if seconds is None else time.monotonic() + seconds

    def within(self, seconds: float) -> float:
        """Returns the seconds, or those that are left if they are fewer."""
        return seconds if self._at is None else max(0.0, min(seconds, self._at - time.monotonic()))

    def check(self) -> None:
        """Raises WaitTimeout where the time is over."""
        if self._at is not None and time.monotonic() >= self._at:
            raise WaitTimeout(self._message)


NEVER = Deadline(None)
