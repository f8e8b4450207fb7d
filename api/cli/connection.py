"""The connection of a command to the service: named by option or environment, else the `unlearn up` of the folder."""

import os
from pathlib import Path

from api.cli.data_folder import DataFolder
from api.client import NoServiceNamed, Retries, UnlearningClient

RETRIES = Retries(attempts=4)
"""A person waits: about three seconds for a service that is not there."""


def connect(
    data: Path, *, server: str | None = None, key: str | None = None, releases: bool = False
) -> UnlearningClient:
    """Returns a client of the service. Its key is by default the folder's release key where the command `releases`,
    else the folder's admin key. A folder's keys are sent to the folder's own service only.

    Raises NoServiceNamed.
    """
    data_folder = DataFolder(data)
    service = data_folder.running()
    server = server or os.environ.get("UNLEARN_URL") or (service.url if service else None)
    key = key or os.environ.get("UNLEARN_KEY")
    if server is None:
        raise NoServiceNamed(
            f"no service in {data_folder.path}: run 'unlearn up', or name one with --server or UNLEARN_URL"
        )
    file = data_folder.release_key if releases else data_folder.admin_key
    if key is None and service is not None and server.rstrip("/") == service.url and file.exists():
        key = file.read_text().strip()
    if key is None:
        raise NoServiceNamed(f"no key for {server}: name one with UNLEARN_KEY or --key")
    return UnlearningClient(server, key, retries=RETRIES)
