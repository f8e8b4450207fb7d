"""A worker's name: in its row of `workers`, in the jobs that it holds, and in its health check."""

import os
import socket


def worker_id() -> str:
    """Returns `host:pid`. A restarted container may repeat an id, which is why fences and not ids hold jobs."""
    return f"{host()}:{os.getpid()}"


def host() -> str:
    """Returns the machine's (or container's) name, as in every id of its workers."""
    return socket.gethostname()[:96]
