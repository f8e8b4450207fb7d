"""Checkpoints: what a job delivers."""

from collections.abc import Callable
from pathlib import Path

from api.client.answers import ask
from api.client.call import get, post, url_path
from api.client.downloads import download_file, place
from api.client.errors import DigestMismatch
from api.client.resource import Resource, Transport, operation
from api.client.steps import Steps
from core.schema.checkpoints import Checkpoint, ReleaseRequest
from core.schema.manifest import digest


class Checkpoints(Resource[Transport]):
    """`client.checkpoints`: the models that jobs made."""

    @operation
    def get(self, checkpoint: str) -> Steps[Checkpoint]:
        """Returns the checkpoint, with the digest of each file. Raises NotFound."""
        return _get(checkpoint)

    @operation
    def release(self, checkpoint: str, reason: str) -> Steps[Checkpoint]:
        """Accepts a checkpoint that did not pass its policy. Raises Forbidden for the key that submitted the job."""
        return ask(post(url_path("checkpoints", checkpoint, "release"), ReleaseRequest(reason=reason)), Checkpoint)

    @operation
    def download(
        self, checkpoint: str, directory: str | Path, *, received: Callable[[int], None] = lambda _: None
    ) -> Steps[Checkpoint]:
        """Downloads all files into the directory, checks the sha256 of each, and returns the checkpoint.

        A file that is there already is not fetched again, and the download of a part of a file goes on where it broke
        off, also in another process. `received` is told how many bytes each step adds to what is there (fewer than 0: a
        part could not be used). Raises DigestMismatch, Forbidden while the checkpoint is not released.
        """
        description = yield from _get(checkpoint)
        if (found := digest(description.files)) != description.digest:
            raise DigestMismatch(f"the list of files of {checkpoint}", stated=description.digest, found=found)
        targets = [place(Path(directory), file.path) for file in description.files]
        for file, target in zip(description.files, targets, strict=True):
            yield from download_file(_content(checkpoint, file.path), target, file, received)
        return description


def _get(checkpoint: str) -> Steps[Checkpoint]:
    return ask(get(url_path("checkpoints", checkpoint)), Checkpoint)


def _content(checkpoint: str, path: str) -> str:
    return url_path("checkpoints", checkpoint, "files", *path.split("/"))
