from api.http.rate_limit import RateLimiter


def test_a_bucket_empties_and_fills_again_evenly() -> None:
    now = 0.0
    limiter = RateLimiter(60, clock=lambda: now)
    assert [limiter.take("a").allowed for _ in range(61)] == [True] * 60 + [False]
    assert limiter.take("a").retry_after == 1
    assert limiter.take("b").allowed
    now = 1.0
    assert [limiter.take("a").allowed for _ in range(2)] == [True, False]
    now = 1000.0
    assert limiter.take("a").headers["RateLimit"] == '"key";r=59;t=0'


def test_a_refused_request_uses_no_token() -> None:
    now = 0.0
    limiter = RateLimiter(1, clock=lambda: now)
    limiter.take("a")
    waits = [limiter.take("a").retry_after for _ in range(5)]
    assert waits == [60] * 5


def test_without_a_limit_there_are_no_headers() -> None:
    verdict = RateLimiter(0).take("a")
    assert (verdict.allowed, verdict.headers) == (True, {})
