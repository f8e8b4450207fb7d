"""`unlearn release`: a second person's decision to hand out a checkpoint that did not pass its policy."""

from typing import Annotated

import typer
from rich.console import Console

from api.cli.connection import open_client
from api.cli.data_folder import DEFAULT_DATA, DataOption
from api.client import NotFound

out = Console(highlight=False)


def release(
    checkpoint_id: Annotated[str, typer.Argument(metavar="CKPT", help="The id of the checkpoint.")],
    reason: Annotated[
        str, typer.Option(help="Why the checkpoint may be used all the same. The audit log keeps the reason.")
    ],
    data: DataOption = DEFAULT_DATA,
) -> None:
    """Release a checkpoint that waits for a second person.

    The command uses the folder's release.key, since the key that submitted a job may not release its checkpoint.
    """
    with open_client(data, releases=True) as client:
        checkpoint = client.checkpoints.release(checkpoint_id, reason)
        try:
            is_head = client.models.get(checkpoint.base_model).head == checkpoint.id
        except NotFound:
            is_head = False
    out.print(f"{checkpoint.id} is released" + (f" and the head of {checkpoint.base_model}" if is_head else ""))
