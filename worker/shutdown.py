"""The shutdown of this process: a flag that a signal handler sets and that threads and event loops see."""

import asyncio
import threading

_POLL_SECONDS = 0.1


class ShutdownEvent:
    """Set once, never cleared. True once the process was told to stop."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def __bool__(self) -> bool:
        return self._event.is_set()

    def set(self) -> None:
        self._event.set()

    async def wait(self, seconds: float | None = None) -> bool:
        """Returns True as soon as the event is set, or False after so many seconds."""
        # polled rather than signalled: a signal handler cannot safely reach into the loops of other threads
        loop = asyncio.get_running_loop()
        end = None if seconds is None else loop.time() + seconds
        while not self:
            left = _POLL_SECONDS if end is None else min(_POLL_SECONDS, end - loop.time())
            if left <= 0:
                return False
            await asyncio.sleep(left)
        return True
