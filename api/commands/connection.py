"""Where a command finds the service: UNLEARN_URL and UNLEARN_KEY, else the `unlearn up` of this folder."""

import os
from pathlib import Path

import typer
from rich.console import Console

from api.client import Client
from api.commands.place import Place

err = Console(stderr=True, highlight=False)


def connect(data: Path) -> Client:
    """A client of the service; ends the command with advice where none is to be found."""
    place = Place(data)
    running = place.running()
    url = os.environ.get("UNLEARN_URL") or (running.url if running else None)
    key = os.environ.get("UNLEARN_KEY") or (place.admin_key.read_text().strip() if place.admin_key.exists() else None)
    if url is None or key is None:
        err.print(f"no service in {place.folder}: run 'unlearn up', or set UNLEARN_URL and UNLEARN_KEY")
        raise typer.Exit(2)
    return Client(url, key)
