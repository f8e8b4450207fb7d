"""Rate limit of a key: a token bucket per key and process. Each replica counts on its own."""

import math
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

WINDOW_SECONDS = 60
BUCKETS = 10_000


@dataclass(frozen=True)
class RateLimit:
    """The decision on a request, and the headers of its answer (draft-ietf-httpapi-ratelimit-headers)."""

    allowed: bool
    retry_after: int
    headers: dict[str, str]


class RateLimiter:
    """Allows `per_minute` requests at once; the bucket refills evenly over a minute. 0: no limit."""

    def __init__(self, per_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit = per_minute
        self._clock = clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()  # key: (tokens, seconds of the clock)

    def take(self, key: str) -> RateLimit:
        """Takes a token from the key's bucket, if there is one."""
        if self._limit == 0:
            return RateLimit(True, 0, {})
        now, tokens_per_second = self._clock(), self._limit / WINDOW_SECONDS
        tokens, last_time = self._buckets.pop(key, (float(self._limit), now))
        tokens = min(float(self._limit), tokens + (now - last_time) * tokens_per_second)
        allowed = tokens >= 1
        tokens -= allowed
        self._buckets[key] = (tokens, now)
        if len(self._buckets) > BUCKETS:
            self._buckets.popitem(last=False)
        wait = 0 if tokens >= 1 else math.ceil((1 - tokens) / tokens_per_second)
        headers = {
            "RateLimit-Policy": f'"key";q={self._limit};w={WINDOW_SECONDS}',
            "RateLimit": f'"key";r={int(tokens)};t={wait}',
        }
        return RateLimit(allowed, max(1, wait), headers)
