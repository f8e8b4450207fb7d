"""What a worker and a child that waits for its job say to each other, over a pair of connected Unix sockets.

The child: `READY`, once it has imported everything. The worker: a `ChildEnvironment` in a line, and with it the open
descriptors that a child started for this job would have inherited. End of file instead: the other one is gone.
"""

from pydantic import RootModel

READY = b"ready\n"


class ChildEnvironment(RootModel[dict[str, str | None]]):
    """Names and values that the child's environment has to take over; null: a name that it has too many."""
