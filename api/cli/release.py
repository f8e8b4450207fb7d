"""`unlearn release`: a second person's decision to hand out a checkpoint that did not pass its policy."""

from typing import Annotated

import typer

from api.cli.session import Session, service_command
from api.client import NotFound


@service_command(releases=True)
def release(
    session: Session,
    checkpoint_id: Annotated[str, typer.Argument(metavar="CKPT", help="The id of the checkpoint.")],
    reason: Annotated[
        str, typer.Option(help="Why the checkpoint may be used all the same. The audit log keeps the reason.")
    ],
) -> None:
    """Release a checkpoint that waits for a second person.

    The command uses the folder's release.key, since the key that submitted a job may not release its checkpoint.
    """
    checkpoint = session.client.checkpoints.release(checkpoint_id, reason)
    try:
        is_head = session.client.models.get(checkpoint.base_model).head == checkpoint.id
    except NotFound:
        is_head = False
    head = f" and the head of {checkpoint.base_model}" if is_head else ""
    session.show(checkpoint, f"{checkpoint.id} is released{head}")
