"""Storage for the bytes of checkpoints and uploaded files: one small interface, two kinds of store behind it."""

from core.storage.storage_url import open_storage
from core.storage.store import (
    BadKey,
    NotStored,
    Storage,
    StorageError,
    StorageFull,
    StorageUnavailable,
    StorageUrlError,
)

__all__ = [
    "BadKey",
    "NotStored",
    "Storage",
    "StorageError",
    "StorageFull",
    "StorageUnavailable",
    "StorageUrlError",
    "open_storage",
]
