"""The download of a checkpoint, with its progress on a terminal only."""

from pathlib import Path

from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from api.cli.session import Session
from core.schema.checkpoints import Checkpoint


def download_checkpoint(session: Session, checkpoint: str, directory: Path) -> Checkpoint:
    """Downloads all files of the checkpoint into the directory, checks them, and returns the checkpoint."""
    described = session.client.checkpoints.get(checkpoint)
    columns = (BarColumn(bar_width=32), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    hidden = session.as_json or not session.err.is_terminal
    with Progress(TextColumn("  downloading"), *columns, console=session.err, disable=hidden) as progress:
        task = progress.add_task("", total=described.bytes)
        return session.client.checkpoints.download(
            checkpoint, directory, received=lambda count: progress.advance(task, count)
        )
