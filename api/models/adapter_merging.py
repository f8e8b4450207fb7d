"""Registering an adapter: its base is found, and the two become a model directory in the service's cache."""

import asyncio
import hashlib
import shutil
import time
from contextlib import suppress
from pathlib import Path

from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from api.models import torch_process
from api.models.hub import PREFIX, Repository, fetch
from api.models.model_sources import directory_of
from core.records import models
from core.schema.manifest import digest, manifest
from core.schema.model_files import UnusableModel, read_json, refuse_links_outside
from core.schema.model_shape import ADAPTER, read_shape
from core.schema.models import MergedAdapter
from core.settings import Settings

SECONDS = 3600.0
"""The time limit of one merge, which reads and writes every file of the base."""


class AdapterMerger:
    """Adapters of one organisation and their bases."""

    def __init__(self, settings: Settings, sessions: async_sessionmaker[AsyncSession], organisation: str) -> None:
        self._settings = settings
        self._sessions = sessions
        self._organisation = organisation

    async def merged(self, adapter: Path, root: Path) -> tuple[Path, MergedAdapter]:
        """The directory of both together, made once for the same files. Raises UnusableModel, NoAnswer."""
        name, own = await asyncio.to_thread(_read, adapter, root)
        base, base_digest = await self._base(name)
        both = hashlib.sha256(f"{own} {base_digest}".encode()).hexdigest()
        directory = self._settings.model_cache.resolve() / "merged" / both
        if not directory.is_dir():
            directory.parent.mkdir(parents=True, exist_ok=True)
            await asyncio.to_thread(_collect, directory.parent)
            answer = await torch_process.ask("core.lm.adapter_merging", adapter, base, directory, seconds=SECONDS)
            if answer.error is not None:
                raise UnusableModel("unsupported-model", answer.error)
        return directory, MergedAdapter(adapter=own, base=name, base_digest=base_digest)

    async def _base(self, name: str) -> tuple[Path, str]:
        """The base's directory and digest: a registered model, a directory below the roots, or a Hub repository."""
        async with self._sessions() as session:
            row = await models.get(session, self._organisation, name)
        if row is not None:
            if row.status != "ready" or row.directory is None or row.digest is None:
                raise UnusableModel("model-incomplete", f"the adapter's base '{name}' is registered, but not ready")
            return Path(row.directory), row.digest
        return await asyncio.to_thread(self._found, name)

    def _found(self, name: str) -> tuple[Path, str]:
        settings = self._settings
        if name.startswith("/"):
            directory, root = directory_of(name, settings.model_roots)
        elif name.count("/") == 1 and Repository.parse(PREFIX + name).allowed(settings.hub_allow):
            fetched, _ = fetch(Repository.parse(PREFIX + name), settings)
            directory, root = fetched.resolve(), settings.model_cache.resolve()
        else:
            raise UnusableModel(
                "model-incomplete",
                f"the adapter's base '{name}' is not known here: register the base, and write its id as"
                f" base_model_name_or_path into {ADAPTER} (a directory under the allowed roots may stand there too)",
            )
        read_shape(directory, root=root)
        return directory, digest(manifest(directory))


def _collect(folder: Path) -> None:
    """Deletes what killed merges left unfinished: nothing else is older than twice the time limit of a merge."""
    for left in folder.glob(".*.partial-*"):
        with suppress(FileNotFoundError):  # another process deletes it, or has completed it
            if left.stat().st_mtime < time.time() - 2 * SECONDS:
                shutil.rmtree(left)


def _read(adapter: Path, root: Path) -> tuple[str, str]:
    """The base's name and the digest of the adapter's files."""
    refuse_links_outside(adapter, root)
    name = read_json(adapter, ADAPTER).get("base_model_name_or_path")
    if not isinstance(name, str) or not name:
        message = f"{ADAPTER} does not name the adapter's base: write the id of a registered model as"
        raise UnusableModel("model-incomplete", f"{message} base_model_name_or_path")
    return name, digest(manifest(adapter))
