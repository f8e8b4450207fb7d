"""That this process was told to stop: set by a signal handler, seen by threads and by event loops alike."""

import asyncio
import threading

_GLANCE_SECONDS = 0.1


class ShutdownEvent:
    """Set once, never cleared."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def __bool__(self) -> bool:
        return self._event.is_set()

    def begin(self) -> None:
        self._event.set()

    async def wait(self, seconds: float | None = None) -> bool:
        """Returns as soon as stopping has begun (True), or after so many seconds (False)."""
        # looked at rather than signalled: a signal handler cannot safely reach into the loops of other threads
        loop = asyncio.get_running_loop()
        end = None if seconds is None else loop.time() + seconds
        while not self:
            left = _GLANCE_SECONDS if end is None else min(_GLANCE_SECONDS, end - loop.time())
            if left <= 0:
                return False
            await asyncio.sleep(left)
        return True
