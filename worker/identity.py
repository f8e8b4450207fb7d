"""What a worker is called: in its row of `workers`, in the jobs that it holds, and to whoever asks after its health."""

import os
import socket


def worker_id() -> str:
    """`host:pid`; a restarted container may carry its forerunner's, which is why fences and not names hold jobs."""
    return f"{host()}:{os.getpid()}"


def host() -> str:
    """The machine's (or container's) name, as in every id of its workers."""
    return socket.gethostname()[:96]
