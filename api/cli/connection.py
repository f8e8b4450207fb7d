"""The connection of a command to the service: UNLEARN_URL and UNLEARN_KEY, else the `unlearn up` of the data folder."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import typer
from rich.console import Console
from rich.markup import escape

from api.cli.data_folder import DataFolder
from api.client import NoAnswer, UnlearningClient, UnlearningError

err = Console(stderr=True, highlight=False)


def connect(data: Path, *, releases: bool = False) -> UnlearningClient:
    """Returns a client of the service, with the folder's release key where the command `releases`, else its admin key.

    Ends the command with advice and exit code 2 where no service is found.
    """
    data_folder = DataFolder(data)
    file = data_folder.release_key if releases else data_folder.admin_key
    service = data_folder.running()
    url = os.environ.get("UNLEARN_URL") or (service.url if service else None)
    key = os.environ.get("UNLEARN_KEY") or (file.read_text().strip() if file.exists() else None)
    if url is None or key is None:
        err.print(f"no service in {data_folder.path}: run 'unlearn up', or set UNLEARN_URL and UNLEARN_KEY")
        raise typer.Exit(2)
    return UnlearningClient(url, key)


@contextmanager
def open_client(data: Path, *, releases: bool = False) -> Iterator[UnlearningClient]:
    """Yields the client of `connect`. Ends the command with exit code 1 where the service refuses, or is silent."""
    try:
        with connect(data, releases=releases) as client:
            yield client
    except NoAnswer as failure:
        err.print(f"{failure}: is 'unlearn up' running?")
        raise typer.Exit(1) from None
    except UnlearningError as refused:
        err.print(f"[red]refused:[/red] {escape(str(refused))}")
        raise typer.Exit(1) from None
