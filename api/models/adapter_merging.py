"""Adapters that are registered as models: merges an adapter with its base into a directory of the model cache."""

import asyncio
import hashlib
import shutil
import time
from contextlib import suppress
from pathlib import Path

from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from api.models import torch_process
from api.models.hub import PREFIX, Repository, fetch_repository
from api.models.model_sources import find_directory
from core.records import models
from core.schema.adapters import ADAPTER_CONFIG
from core.schema.manifest import digest, manifest
from core.schema.model_files import UnusableModel, read_json, refuse_links_outside
from core.schema.model_shape import read_shape
from core.schema.models import MergedAdapter
from core.settings import Settings

SECONDS = 3600.0
"""Time limit of a merge, which reads and writes every file of the base."""


class AdapterMerger:
    """Merges adapters of one organisation with their bases."""

    def __init__(self, settings: Settings, sessions: async_sessionmaker[AsyncSession], organisation: str) -> None:
        self._settings = settings
        self._sessions = sessions
        self._organisation = organisation

    async def merge(self, adapter: Path, root: Path) -> tuple[Path, MergedAdapter]:
        """Returns the merged model's directory, which is made once for the same files.

        Raises UnusableModel, NoAnswer.
        """
        base_name, adapter_digest = await asyncio.to_thread(_read_adapter, adapter, root)
        base, base_digest = await self._find_base(base_name)
        merged_digest = hashlib.sha256(f"{adapter_digest} {base_digest}".encode()).hexdigest()
        directory = self._settings.model_cache.resolve() / "merged" / merged_digest
        if not directory.is_dir():
            directory.parent.mkdir(parents=True, exist_ok=True)
            await asyncio.to_thread(_delete_abandoned, directory.parent)
            result = await torch_process.run("core.lm.adapter_merging", adapter, base, directory, seconds=SECONDS)
            if result.error is not None:
                raise UnusableModel("unsupported-model", result.error)
        return directory, MergedAdapter(adapter=adapter_digest, base=base_name, base_digest=base_digest)

    async def _find_base(self, name: str) -> tuple[Path, str]:
        """Returns the directory and digest of the base: a registered model, a directory or a Hub repository."""
        async with self._sessions() as session:
            row = await models.get(session, self._organisation, name)
        if row is not None:
            if row.status != "ready" or row.directory is None or row.digest is None:
                raise UnusableModel("model-incomplete", f"the adapter's base '{name}' is registered, but not ready")
            return Path(row.directory), row.digest
        return await asyncio.to_thread(self._find_unregistered, name)

    def _find_unregistered(self, name: str) -> tuple[Path, str]:
        settings = self._settings
        if name.startswith("/"):
            directory, root = find_directory(name, settings.model_roots)
        elif name.count("/") == 1 and Repository.parse(PREFIX + name).is_allowed(settings.hub_allow):
            fetched, _ = fetch_repository(Repository.parse(PREFIX + name), settings)
            directory, root = fetched.resolve(), settings.model_cache.resolve()
        else:
            raise UnusableModel(
                "model-incomplete",
                f"the adapter's base '{name}' is not known here: register the base, and write its id as"
                f" base_model_name_or_path into {ADAPTER_CONFIG} (a directory under the allowed roots may stand there"
                " too)",
            )
        read_shape(directory, root=root)
        return directory, digest(manifest(directory))


def _delete_abandoned(folder: Path) -> None:
    """Deletes partial directories of killed merges, which are older than twice the time limit of a merge."""
    for partial in folder.glob(".*.partial-*"):
        with suppress(FileNotFoundError):  # another process deletes it, or has completed it
            if partial.stat().st_mtime < time.time() - 2 * SECONDS:
                shutil.rmtree(partial)


def _read_adapter(adapter: Path, root: Path) -> tuple[str, str]:
    """Returns the name of the adapter's base and the digest of its files. Blocks. Raises UnusableModel."""
    refuse_links_outside(adapter, root)
    name = read_json(adapter, ADAPTER_CONFIG).get("base_model_name_or_path")
    if not isinstance(name, str) or not name:
        message = f"{ADAPTER_CONFIG} does not name the adapter's base: write the id of a registered model as"
        raise UnusableModel("model-incomplete", f"{message} base_model_name_or_path")
    return name, digest(manifest(adapter))
