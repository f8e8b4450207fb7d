"""Registration of base models in the background: fetches, hashes and checks their files."""

import asyncio
from contextlib import suppress
from pathlib import Path
from typing import Any

import structlog
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from api.models.adapter_merging import AdapterMerger
from api.models.model_sources import fetch_source
from api.models.torch_process import NoAnswer
from api.models.weight_check import check_weights
from core.records import models
from core.records.tables import ModelRow
from core.schema.manifest import digest, manifest
from core.schema.model_files import UnusableModel
from core.schema.model_shape import holds_adapter, read_shape
from core.schema.models import ModelShape
from core.settings import Settings

MAX_CONCURRENT = 2
RETRY_SECONDS = 1.0

log = structlog.get_logger()


class Registrar:
    """Brings models from `fetching` to `ready` or `failed`, `MAX_CONCURRENT` at a time."""

    def __init__(self, settings: Settings, sessions: async_sessionmaker[AsyncSession]) -> None:
        self._settings = settings
        self._sessions = sessions
        self._slots = asyncio.Semaphore(MAX_CONCURRENT)
        self._tasks: dict[tuple[str, str], asyncio.Task[None]] = {}

    @property
    def busy(self) -> bool:
        """Whether a registration is under way."""
        return bool(self._tasks)

    async def resume(self) -> None:
        """Starts again the registrations that a stopped process left at `fetching`."""
        async with self._sessions() as session:
            rows = await models.list_fetching(session)
        for row in rows:
            self.start(row)

    def start(self, row: ModelRow) -> None:
        model = (row.organisation, row.id)
        self.cancel(*model)
        task = asyncio.create_task(self._register(row), name=f"register {row.id}")
        self._tasks[model] = task
        task.add_done_callback(lambda done: self._tasks.pop(model) if self._tasks.get(model) is done else None)

    def cancel(self, organisation: str, model: str) -> None:
        """Cancels the registration of a deleted model, so that it does not settle a later model of the same id."""
        if task := self._tasks.pop((organisation, model), None):
            task.cancel()

    async def stop(self) -> None:
        """Cancels all registrations; the next process resumes them."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        for task in tasks:
            with suppress(asyncio.CancelledError):
                await task

    async def _register(self, row: ModelRow) -> None:
        model = row.id
        async with self._slots:
            try:
                values = {"status": "ready", "error": None, **await self._read_model(row)}
            except UnusableModel as error:
                values = {"status": "failed", "error": str(error)}
            except Exception as error:  # noqa: BLE001 - whatever a disk or a mirror does, the model must end as failed
                log.error("model_failed", model=model, error=type(error).__name__)
                values = {"status": "failed", "error": f"the service could not read it ({type(error).__name__})"}
        while not await self._store_result(row, values):  # noqa: ASYNC110 - nothing announces that the database is back
            await asyncio.sleep(RETRY_SECONDS)
        log.info("model_settled", model=model, status=values["status"])

    async def _store_result(self, row: ModelRow, values: dict[str, Any]) -> bool:
        """Writes the result to the model's row; returns False where the database cannot be reached."""
        try:
            async with self._sessions.begin() as session:
                await models.update_registration(session, row.organisation, row.id, values, created_at=row.created_at)
        except (SQLAlchemyError, OSError) as error:
            log.warning("model_not_settled", model=row.id, error=type(error).__name__)
            return False
        return True

    async def _read_model(self, row: ModelRow) -> dict[str, Any]:
        """Returns the columns that describe the model's files. Raises UnusableModel."""
        directory, root, commit = await asyncio.to_thread(fetch_source, row.source, self._settings)
        try:
            merged = None
            if await asyncio.to_thread(holds_adapter, directory):
                merger = AdapterMerger(self._settings, self._sessions, row.organisation)
                directory, merged = await merger.merge(directory, root)
                root = directory
            shape, files_digest = await asyncio.to_thread(_read_files, directory, root)
            weight_check = await check_weights(directory, files_digest)
        except NoAnswer as error:
            message = f"the process that reads the weights {error}: register the model again"
            raise UnusableModel("not-examined", message) from None
        if weight_check.error is not None:
            raise UnusableModel("unsupported-model", weight_check.error)
        # a config may omit the context that its architecture implies
        context = shape.context or weight_check.context
        shape = shape.model_copy(update={"merged": merged, "context": context})
        return {
            "directory": str(directory),
            "revision": commit,
            "digest": files_digest,
            "shape": shape.model_dump(mode="json"),
        }


def _read_files(directory: Path, root: Path) -> tuple[ModelShape, str]:
    """Returns the directory's shape and digest. Blocks: hashes every file."""
    return read_shape(directory, root=root), digest(manifest(directory))
