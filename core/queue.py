"""Names of queues and the address of Redis, for API and workers, without importing Celery."""

from urllib.parse import urlsplit

HINT_TASK = "unlearn.work"
"""The one Celery task, a hint: "there is work of this class". A lost message loses no data."""


def queue_name(gpus: int) -> str:
    """The queue of jobs that need so many GPUs; 0: they run on the CPU. ValueError below 0."""
    if gpus < 0:
        raise ValueError("a job cannot have fewer than 0 GPUs")
    return f"unlearn.gpu{gpus}" if gpus else "unlearn.cpu"


def redis_py_url(redis_url: str) -> str:
    """redis-py's form of a Redis URL in Celery's form: `redis+socket://` becomes `unix://`."""
    url = urlsplit(redis_url)
    if url.scheme != "redis+socket":
        return redis_url
    query = url.query.replace("virtual_host=", "db=")
    return url._replace(scheme="unix", query=query).geturl()
