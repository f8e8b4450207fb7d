"""`unlearn release`: a second person's word for a checkpoint that missed its policy."""

from typing import Annotated
from urllib.parse import quote

import typer
from rich.console import Console

from api.cli.connection import open_client
from api.cli.up import DEFAULT_DATA, DataOption

out = Console(highlight=False)


def release(
    checkpoint: Annotated[str, typer.Argument(metavar="CKPT", help="the checkpoint's id")],
    reason: Annotated[str, typer.Option(help="why it may be used all the same; kept on the audit log")],
    data: DataOption = DEFAULT_DATA,
) -> None:
    """Accept a checkpoint that waits; under `unlearn up` with the folder's release.key, as no job's own key may."""
    with open_client(data, releases=True) as client:
        made = client.post(f"/v1/checkpoints/{quote(checkpoint, safe='')}/release", {"reason": reason})
        head = client.find(f"/v1/models/{quote(made['base_model'], safe='')}")
    at_head = head is not None and head["head"] == made["id"]
    out.print(f"{made['id']} is released" + (f" and the head of {made['base_model']}" if at_head else ""))
