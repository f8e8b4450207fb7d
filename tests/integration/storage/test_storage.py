"""One set of promises, kept by every kind of storage: PostgreSQL rows, files, and objects in S3 and Azure."""

import asyncio
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
import pytest_asyncio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import PoolProxiedConnection, func, select, text
from sqlalchemy.ext.asyncio import AsyncEngine

from core.records.objects import ObjectChunk, StoredObject
from core.storage import (
    BadKey,
    NotStored,
    Storage,
    StorageError,
    StorageUrlError,
    open_storage,
)
from core.storage.objects import PART
from core.storage.postgres import CHUNK
from tests.integration.storage.content import DATA, LARGE, chunks, cut


@pytest.fixture(params=["postgres", "file", "s3", "azure"])
def storage_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    match request.param:
        case "postgres":
            return "postgres://"
        case "file":
            return f"file://{tmp_path}/objects"
    return str(request.getfixturevalue(f"{request.param}_url"))


def is_object_store(storage_url: str) -> bool:
    """Returns whether the remains of crashes are left to the lifecycle rules of the store."""
    return storage_url.startswith(("s3://", "az://"))


@pytest_asyncio.fixture
async def storage(storage_url: str, engine: AsyncEngine) -> AsyncIterator[Storage]:
    opened = open_storage(storage_url, engine)
    yield opened
    for key, _ in await listed(opened):
        await opened.delete(key)
    await opened.delete_unfinished(timedelta(0))


async def read(storage: Storage, key: str, start: int = 0, end: int | None = None) -> bytes:
    return b"".join([piece async for piece in storage.read(key, start, end)])


async def listed(storage: Storage, prefix: str = "") -> list[tuple[str, int]]:
    return sorted([entry async for entry in storage.list(prefix)])


@pytest.mark.parametrize("size", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 5 * CHUNK, PART, PART + 1, 2 * PART + 1])
async def test_an_object_is_read_as_it_was_written(storage: Storage, size: int) -> None:
    data = LARGE[:size]
    assert await storage.write("a/object", cut(data)) == size
    assert await storage.size("a/object") == size
    assert await read(storage, "a/object") == data
    assert await listed(storage) == [("a/object", size)]


async def test_a_range_reads_the_same_bytes_as_a_slice(storage: Storage) -> None:
    await storage.write("object", cut(DATA))
    near = st.sampled_from([0, CHUNK, 2 * CHUNK, 5 * CHUNK]).flatmap(
        lambda edge: st.integers(max(0, edge - 2), edge + 2)
    )
    bound = st.integers(0, 5 * CHUNK + 10) | near
    loop = asyncio.get_running_loop()

    @settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(start=bound, end=st.none() | bound)
    def check(start: int, end: int | None) -> None:
        content = asyncio.run_coroutine_threadsafe(read(storage, "object", start, end), loop).result(30)
        assert content == DATA[start:end]

    await asyncio.to_thread(check)
    with pytest.raises(ValueError, match="bounds"):
        await read(storage, "object", -5)


async def test_an_object_is_read_in_small_pieces(storage: Storage) -> None:
    await storage.write("object", cut(DATA))
    sizes = [len(piece) async for piece in storage.read("object")]
    assert len(sizes) > 1
    assert max(sizes) <= 4 << 20


async def test_writing_a_key_again_replaces_its_object(storage: Storage) -> None:
    await storage.write("object", cut(DATA))
    await storage.write("object", chunks(b"short"))
    assert await read(storage, "object") == b"short"
    assert await listed(storage) == [("object", 5)]


async def test_a_missing_object_has_no_size_and_cannot_be_read(storage: Storage) -> None:
    await storage.write("a/b", chunks(b"x"))
    assert await storage.size("nothing") is None
    assert await storage.size("a") is None
    for key in ("nothing", "a"):
        with pytest.raises(NotStored):
            await read(storage, key)
    await storage.delete("nothing")


async def test_a_delete_includes_objects_below_the_key_and_no_neighbour(storage: Storage) -> None:
    for key in ("job-1/1/a", "job-1/2/b", "job-1/2/c/d", "job-10/1/a", "job-1.x"):
        await storage.write(key, chunks(key.encode()))
    await storage.delete("job-1/2/b")
    assert await listed(storage, "job-1") == [("job-1/1/a", 9), ("job-1/2/c/d", 11)]
    await storage.delete("job-1")
    assert await listed(storage) == [("job-1.x", 7), ("job-10/1/a", 10)]


async def test_a_list_holds_the_objects_below_a_prefix(storage: Storage) -> None:
    for key in ("a/1", "a/b/2", "ab/3", "a.4"):
        await storage.write(key, chunks(b"x"))
    assert [key for key, _ in await listed(storage, "a")] == ["a/1", "a/b/2"]
    assert [key for key, _ in await listed(storage, "a/1")] == []
    assert [key for key, _ in await listed(storage)] == ["a.4", "a/1", "a/b/2", "ab/3"]


@pytest.mark.parametrize("key", ["../x", "/x", "a/../../x", "a//b", "a/", "."])
async def test_keys_that_leave_their_folder_are_refused_everywhere(storage: Storage, key: str) -> None:
    with pytest.raises(BadKey):
        await storage.write(key, chunks(b"x"))
    with pytest.raises(BadKey):
        await read(storage, key)
    with pytest.raises(BadKey):
        await storage.size(key)
    with pytest.raises(BadKey):
        await storage.delete(key)
    with pytest.raises(BadKey):
        await listed(storage, key)


@pytest.mark.parametrize("size", [3 * CHUNK, 2 * PART + CHUNK])
async def test_an_upload_that_fails_changes_nothing_and_leaves_nothing(storage: Storage, size: int) -> None:
    async def failing() -> AsyncIterator[bytes]:
        async for part in cut(LARGE[:size]):
            yield part
        raise ConnectionResetError("the client went away")

    await storage.write("object", chunks(b"before"))
    for key in ("object", "new"):
        with pytest.raises(ConnectionResetError, match="the client went away"):
            await storage.write(key, failing())
    assert await listed(storage) == [("object", 6)]
    assert await read(storage, "object") == b"before"
    assert await storage.delete_unfinished(timedelta(0)) == 0


async def test_an_upload_that_is_cancelled_leaves_nothing(storage: Storage) -> None:
    under_way = asyncio.Event()

    async def endless() -> AsyncIterator[bytes]:
        yield DATA[: 2 * CHUNK]
        under_way.set()
        await asyncio.sleep(60)

    task = asyncio.create_task(storage.write("object", endless()))
    await under_way.wait()
    await asyncio.sleep(0.1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await storage.size("object") is None
    await asyncio.sleep(0.2)
    assert await storage.delete_unfinished(timedelta(0)) == 0


CRASHING = """
import asyncio, os, signal, sys
from core.records.engine import make_engine
from core.storage import open_storage

async def chunks():
    for _ in range(20):
        yield bytes(1 << 20)
    await asyncio.sleep(1)
    os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(open_storage(sys.argv[1], make_engine(sys.argv[2])).write("object", chunks()))
"""


async def test_a_killed_writer_leaves_nothing_visible_and_its_remains_are_deleted(
    storage: Storage, storage_url: str, database_url: str, engine: AsyncEngine, tmp_path: Path
) -> None:
    await storage.write("object", chunks(b"before"))
    child = await asyncio.create_subprocess_exec(sys.executable, "-c", CRASHING, storage_url, database_url, stderr=PIPE)
    assert child.stderr is not None
    errors = await child.stderr.read()
    assert await child.wait() == -9, errors
    assert await listed(storage) == [("object", 6)]
    assert await read(storage, "object") == b"before"
    assert await storage.delete_unfinished(timedelta(hours=1)) == 0
    assert await storage.delete_unfinished(timedelta(0)) == (0 if is_object_store(storage_url) else 1)
    assert await read(storage, "object") == b"before"
    if is_object_store(storage_url):
        return
    if storage_url == "postgres://":
        async with engine.connect() as connection:
            assert await connection.scalar(select(func.count()).select_from(ObjectChunk)) == 1
    else:
        assert [path.name for path in (tmp_path / "objects").rglob("*")] == ["object"]


async def test_of_several_writers_of_one_key_one_object_stays_complete(storage: Storage) -> None:
    versions = [bytes([number]) * (2 * CHUNK + number) for number in range(6)]
    await asyncio.gather(*(storage.write("object", cut(version)) for version in versions))
    assert await read(storage, "object") in versions
    assert len(await listed(storage)) == 1


async def test_the_last_to_finish_wins_not_the_last_to_begin(engine: AsyncEngine, storage: Storage) -> None:
    begun, overtaken = asyncio.Event(), asyncio.Event()

    async def slow() -> AsyncIterator[bytes]:
        yield b"slow"
        begun.set()
        await overtaken.wait()

    first = asyncio.create_task(storage.write("object", slow()))
    await begun.wait()
    await storage.write("object", chunks(b"quick"))
    assert await read(storage, "object") == b"quick"
    overtaken.set()
    await first
    assert await read(storage, "object") == b"slow"


async def test_in_postgres_a_reader_of_a_replaced_object_gets_an_error(engine: AsyncEngine) -> None:
    storage = open_storage("postgres://", engine)
    await storage.write("object", cut(DATA))
    reading = storage.read("object")
    assert await anext(reading) == DATA[:CHUNK]
    await storage.write("object", chunks(b"other"))
    with pytest.raises(NotStored):
        await anext(reading)
    await storage.delete("object")


async def test_in_postgres_an_upload_under_way_is_not_deleted_as_unfinished(engine: AsyncEngine) -> None:
    storage = open_storage("postgres://", engine)

    async def long() -> AsyncIterator[bytes]:
        yield DATA[: 2 * CHUNK]
        async with engine.begin() as connection:  # as if all this had been two hours ago
            columns = ", ".join(f"{name} = {name} - interval '2 hours'" for name in ("created_at", "touched_at"))
            await connection.execute(text(f"UPDATE objects SET {columns}"))
        yield DATA[: 2 * CHUNK]
        assert await storage.delete_unfinished(timedelta(hours=1)) == 0

    assert await storage.write("object", long()) == 4 * CHUNK
    await storage.delete("object")


async def test_in_postgres_an_upload_that_was_deleted_as_unfinished_fails(engine: AsyncEngine) -> None:
    storage = open_storage("postgres://", engine)

    async def pausing() -> AsyncIterator[bytes]:
        yield DATA[: 2 * CHUNK]
        assert await storage.delete_unfinished(timedelta(0)) == 1

    with pytest.raises(StorageError, match="collected"):
        await storage.write("object", pausing())
    assert await storage.size("object") is None


async def test_in_postgres_chunks_are_stored_uncompressed_and_deleted_with_their_object(engine: AsyncEngine) -> None:
    storage = open_storage("postgres://", engine)
    await storage.write("object", chunks(bytes(3 * CHUNK)))
    async with engine.connect() as connection:
        sizes = select(func.pg_column_size(ObjectChunk.data), func.length(ObjectChunk.data))
        for stored, length in (await connection.execute(sizes)).all():
            assert (stored, length) == (CHUNK, CHUNK)
    await storage.delete("object")
    async with engine.connect() as connection:
        assert await connection.scalar(select(func.count()).select_from(ObjectChunk)) == 0
        assert await connection.scalar(select(func.count()).select_from(StoredObject)) == 0


async def test_in_postgres_a_list_longer_than_a_page_is_complete(
    engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("core.storage.postgres.PAGE", 3)
    storage = open_storage("postgres://", engine)
    for number in range(7):
        await storage.write(f"p/{number}", chunks(b"x"))
    assert [key async for key, _ in storage.list("p")] == [f"p/{number}" for number in range(7)]
    await storage.delete("p")


@pytest.mark.parametrize(
    "url", ["", "/folder", "http://user:hunter2@host/x", "memory:///", "file://host/x", "file:///", "s3://", "az://a/b"]
)
def test_a_url_that_names_no_storage_is_refused_and_not_repeated(url: str, engine: AsyncEngine) -> None:
    with pytest.raises(StorageUrlError) as caught:
        open_storage(url, engine)
    assert "hunter2" not in str(caught.value)


def test_object_stores_are_opened_by_their_urls(engine: AsyncEngine) -> None:
    for url in ("s3://bucket/prefix", "gs://bucket"):
        open_storage(url, engine)


async def test_in_postgres_broken_connections_do_not_show(engine: AsyncEngine) -> None:
    storage = open_storage("postgres://", engine)
    stop = asyncio.Event()
    broken = 0

    async def break_connections() -> None:
        nonlocal broken
        # of this user alone: an autovacuum worker of the database may be ended by a superuser only
        query = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usename = current_user"
        while not stop.is_set():
            async with engine.connect() as connection:
                broken += (
                    await connection.scalar(
                        text(query + " AND datname = current_database() AND pid <> pg_backend_pid()")
                    )
                    or 0
                )
            await asyncio.sleep(0.15)

    breaking = asyncio.create_task(break_connections())
    while broken < 8:
        assert not breaking.done()
        assert await storage.write("a/object", cut(DATA)) == len(DATA)
        assert await storage.size("a/object") == len(DATA)
        assert await listed(storage) == [("a/object", len(DATA))]
        assert await read(storage, "a/object", 1, len(DATA) - 1) == DATA[1:-1]
        await storage.delete("a")
        assert await listed(storage) == []
    stop.set()
    await breaking


async def test_in_postgres_a_step_whose_commit_answer_was_lost_has_its_effect_once(
    engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = open_storage("postgres://", engine)
    await storage.write("object", chunks(b"before"))
    commit, commits = engine.dialect.do_commit, 0

    def lose_every_other_answer(connection: PoolProxiedConnection) -> None:
        nonlocal commits
        commits += 1
        commit(connection)
        if commits % 2:
            raise ConnectionResetError

    monkeypatch.setattr(engine.dialect, "do_commit", lose_every_other_answer)
    assert await storage.write("object", cut(DATA[: 3 * CHUNK + 1])) == 3 * CHUNK + 1
    assert commits == 2 * (1 + 4 + 1)
    assert await listed(storage) == [("object", 3 * CHUNK + 1)]
    assert await read(storage, "object") == DATA[: 3 * CHUNK + 1]
    await storage.delete("object")
    monkeypatch.undo()
    async with engine.connect() as connection:
        assert await connection.scalar(select(func.count()).select_from(StoredObject)) == 0
