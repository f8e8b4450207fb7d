"""How often one key may ask: a token bucket per key, in this process (each replica grants its own share)."""

import math
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

WINDOW_SECONDS = 60
BUCKETS = 10_000


@dataclass(frozen=True)
class RateLimit:
    """Whether the request may go on, and what the answer says about it (draft-ietf-httpapi-ratelimit-headers)."""

    allowed: bool
    retry_after: int
    headers: dict[str, str]


class RateLimiter:
    """`per_minute` requests at once, refilled evenly over a minute; 0: no limit."""

    def __init__(self, per_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit = per_minute
        self._clock = clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()  # key: (tokens, when)

    def take(self, key: str) -> RateLimit:
        if self._limit == 0:
            return RateLimit(True, 0, {})
        now, rate = self._clock(), self._limit / WINDOW_SECONDS
        tokens, then = self._buckets.pop(key, (float(self._limit), now))
        tokens = min(float(self._limit), tokens + (now - then) * rate)
        allowed = tokens >= 1
        tokens -= allowed
        self._buckets[key] = (tokens, now)
        if len(self._buckets) > BUCKETS:
            self._buckets.popitem(last=False)
        wait = 0 if tokens >= 1 else math.ceil((1 - tokens) / rate)
        headers = {
            "RateLimit-Policy": f'"key";q={self._limit};w={WINDOW_SECONDS}',
            "RateLimit": f'"key";r={int(tokens)};t={wait}',
        }
        return RateLimit(allowed, max(1, wait), headers)
