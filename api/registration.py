"""Registering a base model: checked when it is asked for; fetched, hashed and held against its architecture in the
background."""

import asyncio
from contextlib import suppress
from pathlib import Path
from typing import Any

import structlog
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from api.examination import NotExamined, examined
from api.hub_fetching import PREFIX, Repository, fetch
from core.records import models
from core.records.tables import ModelRow
from core.schema.manifest import digest, manifest
from core.schema.models import ModelShape
from core.schema.shape import UnusableModel, read_shape
from core.settings import Settings

AT_A_TIME = 2
RETRY_SECONDS = 1.0

log = structlog.get_logger()


def directory_of(source: str, roots: list[Path]) -> tuple[Path, Path]:
    """The directory that a source names, and the allowed root above it, both without links. Raises UnusableModel.

    What lies outside of the roots and what does not exist are one answer: nobody learns what the server has.
    """
    try:
        directory = Path(source).resolve() if Path(source).is_absolute() else None
    except (OSError, ValueError, RuntimeError):
        directory = None
    for root in roots:
        resolved = root.resolve()
        if directory is not None and directory.is_relative_to(resolved) and _is_directory(directory):
            return directory, resolved
    raise UnusableModel("no-such-directory", "this is not a directory under the roots that the operator allows")


def _is_directory(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # a name that is too long, or a place that this process may not look into
        return False


def check(source: str, settings: Settings) -> tuple[Path, ModelShape] | None:
    """What can be said of a source at once: a directory's shape; None for a repository that may be fetched.

    Reads headers only, but from a disk: blocks. Raises UnusableModel.
    """
    if source.startswith(PREFIX):
        if not Repository.parse(source).allowed(settings.hub_allow):
            raise UnusableModel("not-allowed", "the operator's list of Hub repositories (HUB_ALLOW) does not have it")
        return None
    directory, root = directory_of(source, settings.model_roots)
    try:
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
            left = await models.fetching(session)
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
                values = {"status": "ready", "error": None, **await self._examined(row.source)}
            except (UnusableModel, NotExamined) as error:
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
                await models.settle(session, row.organisation, row.id, values, created_at=row.created_at)
        except (SQLAlchemyError, OSError) as error:
            log.warning("model_not_settled", model=row.id, error=type(error).__name__)
            return False
        return True

    async def _examined(self, source: str) -> dict[str, Any]:
        values = await asyncio.to_thread(self._read, source)
        try:
            examination = await examined(Path(values["directory"]), values["digest"])
        except NotExamined as error:
            raise NotExamined(f"the process that checks the weights {error}: register the model again") from None
        if examination.error is not None:
            raise UnusableModel("unsupported-model", examination.error)
        if values["shape"]["context"] is None:  # the architecture's own, which the config need not repeat
            values["shape"]["context"] = examination.context
        return values

    def _read(self, source: str) -> dict[str, Any]:
        """Blocks: downloads where the source is a repository, and hashes every file."""
        revision = None
        if source.startswith(PREFIX):
            directory, revision = fetch(Repository.parse(source), self._settings)
            directory, root = directory.resolve(), self._settings.model_cache.resolve()
        else:
            directory, root = directory_of(source, self._settings.model_roots)
        shape = read_shape(directory, root=root)
        return {
            "directory": str(directory),
            "revision": revision,
            "digest": digest(manifest(directory)),
            "shape": shape.model_dump(mode="json"),
        }
