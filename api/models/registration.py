"""Registering a base model: checked when it is asked for; fetched, hashed and held against its architecture in the
background."""

import asyncio
from contextlib import suppress
from pathlib import Path
from typing import Any

import structlog
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from api.models.adapter_merging import AdapterMerger
from api.models.hub import PREFIX, Repository, fetch
from api.models.model_sources import directory_of
from api.models.torch_process import NoAnswer
from api.models.weight_check import examined
from core.records import models
from core.records.tables import ModelRow
from core.schema.manifest import digest, manifest
from core.schema.model_files import UnusableModel, refuse_links_outside
from core.schema.model_shape import holds_adapter, read_shape
from core.schema.models import ModelShape
from core.settings import Settings

AT_A_TIME = 2
RETRY_SECONDS = 1.0

log = structlog.get_logger()


def check(source: str, settings: Settings) -> tuple[Path, ModelShape] | None:
    """Checks a source before it is queued; returns the directory and shape of a model that lies there.

    None for a repository of the Hub, which is fetched first, and for an adapter, which is merged first.

    Reads headers only, but from a disk: blocks. Raises UnusableModel.
    """
    if source.startswith(PREFIX):
        if not Repository.parse(source).allowed(settings.hub_allow):
            raise UnusableModel("not-allowed", "the operator's list of Hub repositories (HUB_ALLOW) does not have it")
        return None
    directory, root = directory_of(source, settings.model_roots)
    try:
        if holds_adapter(directory):
            refuse_links_outside(directory, root)
            return None
        return directory, read_shape(directory, root=root)
    except (OSError, RuntimeError):  # links that lead in a circle are a RuntimeError until Python 3.13
        raise UnusableModel("model-incomplete", "the service cannot read a file of the directory") from None


class Registrar:
    """Brings models from `fetching` to `ready` or `failed`, a few at a time."""

    def __init__(self, settings: Settings, sessions: async_sessionmaker[AsyncSession]) -> None:
        self._settings = settings
        self._sessions = sessions
        self._turns = asyncio.Semaphore(AT_A_TIME)
        self._tasks: dict[tuple[str, str], asyncio.Task[None]] = {}

    @property
    def busy(self) -> bool:
        """Whether anything is being read."""
        return bool(self._tasks)

    async def resume(self) -> None:
        """Takes on again what a process that is gone left at `fetching`."""
        async with self._sessions() as session:
            left = await models.list_fetching(session)
        for row in left:
            self.take_on(row)

    def take_on(self, row: ModelRow) -> None:
        name = (row.organisation, row.id)
        self.drop(*name)
        task = asyncio.create_task(self._work(row), name=f"register {row.id}")
        self._tasks[name] = task
        task.add_done_callback(lambda done: self._tasks.pop(name) if self._tasks.get(name) is done else None)

    def drop(self, organisation: str, model: str) -> None:
        """Stops caring for a model that was deleted: what was fetched for it must not settle its successor."""
        if task := self._tasks.pop((organisation, model), None):
            task.cancel()

    async def stop(self) -> None:
        """What is not done now is taken on again at the next start."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        for task in tasks:
            with suppress(asyncio.CancelledError):
                await task

    async def _work(self, row: ModelRow) -> None:
        model = row.id
        async with self._turns:
            try:
                values = {"status": "ready", "error": None, **await self._examined(row)}
            except UnusableModel as error:
                values = {"status": "failed", "error": str(error)}
            except Exception as error:  # noqa: BLE001 - whatever a disk or a mirror does, the model says that it failed
                log.error("model_failed", model=model, error=type(error).__name__)
                values = {"status": "failed", "error": f"the service could not read it ({type(error).__name__})"}
        while not await self._settled(row, values):  # noqa: ASYNC110 - nothing announces that the database is back
            await asyncio.sleep(RETRY_SECONDS)
        log.info("model_settled", model=model, status=values["status"])

    async def _settled(self, row: ModelRow, values: dict[str, Any]) -> bool:
        """Writes down what fetching came to; False where the database could not be reached."""
        try:
            async with self._sessions.begin() as session:
                await models.update_registration(session, row.organisation, row.id, values, created_at=row.created_at)
        except (SQLAlchemyError, OSError) as error:
            log.warning("model_not_settled", model=row.id, error=type(error).__name__)
            return False
        return True

    async def _examined(self, row: ModelRow) -> dict[str, Any]:
        directory, root, revision = await asyncio.to_thread(self._located, row.source)
        try:
            merged = None
            if await asyncio.to_thread(holds_adapter, directory):
                merging = AdapterMerger(self._settings, self._sessions, row.organisation)
                directory, merged = await merging.merged(directory, root)
                root = directory
            shape, files = await asyncio.to_thread(_read, directory, root)
            examination = await examined(directory, files)
        except NoAnswer as error:
            message = f"the process that reads the weights {error}: register the model again"
            raise UnusableModel("not-examined", message) from None
        if examination.error is not None:
            raise UnusableModel("unsupported-model", examination.error)
        # the architecture's own context, which the config need not repeat
        more = {"merged": merged, "context": shape.context or examination.context}
        shape = shape.model_copy(update=more)
        return {
            "directory": str(directory),
            "revision": revision,
            "digest": files,
            "shape": shape.model_dump(mode="json"),
        }

    def _located(self, source: str) -> tuple[Path, Path, str | None]:
        """The source's directory, the folder that it may not lead out of, and the commit. Blocks: downloads where the
        source is a repository."""
        if source.startswith(PREFIX):
            directory, revision = fetch(Repository.parse(source), self._settings)
            return directory.resolve(), self._settings.model_cache.resolve(), revision
        return *directory_of(source, self._settings.model_roots), None


def _read(directory: Path, root: Path) -> tuple[ModelShape, str]:
    """The directory's shape and digest. Blocks: hashes every file."""
    return read_shape(directory, root=root), digest(manifest(directory))
