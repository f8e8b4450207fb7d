"""What both wings know of the queue, without importing celery: the names, and how Redis is addressed."""

from urllib.parse import urlsplit

HINT_TASK = "unlearn.work"
"""The one task: "there is work of this class". It carries nothing that must not be lost."""


def queue_name(gpus: int) -> str:
    """The queue of the workers that can run a job of so many GPUs; 0: on the CPU. ValueError below 0."""
    if gpus < 0:
        raise ValueError("a job cannot have fewer than 0 GPUs")
    return f"unlearn.gpu{gpus}" if gpus else "unlearn.cpu"


def redis_py_url(redis_url: str) -> str:
    """The URL for redis-py of a Redis that is written in Celery's way: `redis+socket://` becomes `unix://`."""
    url = urlsplit(redis_url)
    if url.scheme != "redis+socket":
        return redis_url
    query = url.query.replace("virtual_host=", "db=")
    return url._replace(scheme="unix", query=query).geturl()
