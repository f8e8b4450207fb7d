"""A real PostgreSQL and a real Redis out of wheels, for one machine, in one data folder.

All files are in `<data>`, with two exceptions that the operating system forces:
- Where the path is too long for a Unix socket, the socket is in a private folder under /tmp, recorded in
  `socket.folder`.
- Started as root, PostgreSQL must run as another user (uid 60706, which no account has). Where that user cannot reach
  `<data>` unless modes are loosened, its files are under /var/lib/unlearn, recorded in `<data>/postgres/place`.
"""

from core.embedded.errors import StackError
from core.embedded.folder import make_data_folder
from core.embedded.stack import Stack, running

__all__ = ["Stack", "StackError", "make_data_folder", "running"]
