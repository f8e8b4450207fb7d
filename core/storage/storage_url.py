"""Opens the storage that `STORAGE_URL` names."""

from sqlalchemy.ext.asyncio import AsyncEngine

from core.storage.objects import ObjectStorage
from core.storage.postgres import PostgresStorage
from core.storage.store import Storage, StorageUrlError


def open_storage(url: str, engine: AsyncEngine) -> Storage:
    """The storage that a URL names: `postgres://` (the service's own database), `file:///folder`, `s3://bucket/prefix`,
    `gs://…`, `az://…` (credentials from their usual environment variables).

    Raises StorageUrlError, which does not repeat the URL: it may contain a password."""
    scheme, separator, rest = url.partition("://")
    if not separator:
        raise StorageUrlError("STORAGE_URL has no scheme; write postgres:// or file:///a/folder, for example")
    if scheme in ("postgres", "postgresql"):
        if rest.strip("/"):
            raise StorageUrlError("STORAGE_URL is postgres:// and nothing more: bytes go to the service's own database")
        return PostgresStorage(engine)
    return ObjectStorage.open(url)
