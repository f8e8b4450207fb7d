"""Messages between a worker and a child that waits for its job, over a pair of connected Unix sockets.

The child sends `READY` once it has imported everything. The worker sends a `ChildEnvironment` in one line, with the
open descriptors that a child started for this job would have inherited. End of file means that the other process is
gone.
"""

from pydantic import RootModel

READY = b"ready\n"


class ChildEnvironment(RootModel[dict[str, str | None]]):
    """Environment variables that the child sets; null: it removes the variable."""
