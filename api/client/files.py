"""Uploaded files of records."""

from pathlib import Path

from api.client.answers import ask, finish
from api.client.call import Upload, create, delete, get, url_path
from api.client.downloads import download_file
from api.client.pages import every
from api.client.resource import Resource, Transport, operation, stream
from api.client.steps import Items, Steps, Work
from core.schema.files import File, Purpose
from core.schema.manifest import FileEntry
from core.schema.pages import Page


class Files(Resource[Transport]):
    """`client.files`: the texts that jobs work with."""

    @operation
    def upload(
        self, file: str | Path, purpose: Purpose, *, filename: str | None = None, idempotency_key: str | None = None
    ) -> Steps[File]:
        """Uploads a file in constant memory. Raises InvalidRequest, which names the line of a bad record."""
        with (yield Work(lambda: open(file, "rb"))) as content:
            source = Upload(content, filename or Path(file).name, purpose)
            return (yield from ask(create(url_path("files"), source, idempotency_key), File))

    @operation
    def get(self, file: str) -> Steps[File]:
        """Returns the description of the file, without its text. Raises NotFound."""
        return ask(get(url_path("files", file)), File)

    @operation
    def page(self, *, purpose: Purpose | None = None, limit: int = 20, after: str | None = None) -> Steps[Page[File]]:
        """Returns one page of the files, newest first."""
        return ask(get(url_path("files"), purpose=purpose, limit=limit, after=after), Page[File])

    @stream
    def list(self, *, purpose: Purpose | None = None) -> Items[File]:
        """Iterates over all files, newest first."""
        return every(get(url_path("files"), purpose=purpose), Page[File])

    @operation
    def download(self, file: str, path: str | Path) -> Steps[File]:
        """Writes the upload to `path`, byte by byte as it was sent, and returns its description.

        Raises DigestMismatch; nothing is kept then.
        """
        description = yield from ask(get(url_path("files", file)), File)
        stated = FileEntry(path=description.filename, bytes=description.bytes, sha256=description.sha256)
        yield from download_file(url_path("files", file, "content"), Path(path), stated, lambda _: None)
        return description

    @operation
    def delete(self, file: str) -> Steps[None]:
        """Deletes the file for good: first the key that decrypts it, then its bytes. Raises Conflict while in use."""
        return finish(delete(url_path("files", file)))
