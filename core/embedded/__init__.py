"""A real PostgreSQL and a real Redis out of wheels, for one machine, in one data folder.

Everything lives in `<data>`, with two recorded exceptions that the operating system forces:
- a path that is too long for a Unix socket: the socket is in a private folder under /tmp, named in `socket.folder`;
- started as root, PostgreSQL must run as somebody else (uid 60706, which nobody owns). Where that user cannot pass
  through to `<data>` without modes being loosened, its files are under /var/lib/unlearn, named in
  `<data>/postgres/place`.
"""

from core.embedded.errors import StackError
from core.embedded.folder import make_data_folder
from core.embedded.stack import Stack, running

__all__ = ["Stack", "StackError", "make_data_folder", "running"]
