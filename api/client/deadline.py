"""The end of a wait."""

import time

from api.client.errors import WaitTimeout


class Deadline:
    """The moment after which a wait is given up; None seconds: never."""

    def __init__(self, seconds: float | None) -> None:
        self._at = None if seconds is None else time.monotonic() + seconds

    def within(self, seconds: float) -> float:
        """Returns the seconds, or those that are left if they are fewer."""
        return seconds if self._at is None else max(0.0, min(seconds, self._at - time.monotonic()))

    def check(self, message: str) -> None:
        """Raises WaitTimeout with the message where the time is over."""
        if self._at is not None and time.monotonic() >= self._at:
            raise WaitTimeout(message)
