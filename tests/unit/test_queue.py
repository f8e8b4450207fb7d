"""Names of queues, and a Redis URL in Celery's and in redis-py's form."""

import pytest

from core.queue import queue_name, redis_py_url


def test_every_worker_class_has_a_queue_of_its_own() -> None:
    assert [queue_name(gpus) for gpus in (0, 1, 8)] == ["unlearn.cpu", "unlearn.gpu1", "unlearn.gpu8"]
    with pytest.raises(ValueError, match="fewer than 0"):
        queue_name(-1)


def test_a_socket_url_becomes_redis_pys_and_other_urls_stay_unchanged() -> None:
    assert redis_py_url("redis+socket://:pw@/run/redis.sock?virtual_host=2") == "unix://:pw@/run/redis.sock?db=2"
    assert redis_py_url("rediss://user:pw@redis.internal:6380/1") == "rediss://user:pw@redis.internal:6380/1"
