"""The audit log is a chain: its hashes show any entry that was changed, removed or inserted."""

import asyncio
import hashlib
import json
from datetime import UTC

import pytest
import pytest_asyncio
from sqlalchemy import select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from core.records import audit
from core.records.tables import AuditRow
from core.schema.audit import FIRST_PREVIOUS, entry_hash
from tests.integration.records.scene import Scene


@pytest_asyncio.fixture
async def scene(clean_engine: AsyncEngine) -> Scene:
    """An organisation without a model: its log is empty."""
    return await Scene(clean_engine).create()


async def log(scene: Scene) -> list[AuditRow]:
    async with scene.sessions() as session:
        query = select(AuditRow).where(AuditRow.organisation == scene.organisation).order_by(AuditRow.seq)
        return list(await session.scalars(query))


async def append(scene: Scene, object: str, **details: str | int | bool | None) -> None:
    async with scene.sessions.begin() as session:
        await audit.append(session, scene.organisation, scene.key, "tested", object, details)


async def test_each_entry_holds_the_hash_of_the_previous_entry(scene: Scene) -> None:
    await append(scene, "first", reason='ünïcode \u2028 and "quotes"')
    async with scene.sessions.begin() as session:
        await audit.append(
            session, scene.organisation, None, "tested", "second", {"released": True, "count": 3, "n": None}
        )
    first, second = await log(scene)
    assert [row.seq for row in (first, second)] == [1, 2]
    assert (first.previous, second.previous) == ("0" * 64, first.hash)
    assert (first.key, second.key) == (scene.key, None)
    expected = {
        "action": "tested",
        "at": second.at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z"),
        "details": {"count": 3, "n": None, "released": True},
        "key": None,
        "object": "second",
        "organisation": scene.organisation,
        "previous": first.hash,
        "seq": 2,
    }
    canonical = json.dumps(expected, separators=(",", ":"), ensure_ascii=False).encode()
    assert second.hash == hashlib.sha256(canonical).hexdigest()
    assert [entry_hash(audit.serialize(row)) for row in (first, second)] == [first.hash, second.hash]


async def test_entries_that_are_written_at_once_form_one_chain(scene: Scene) -> None:
    await asyncio.gather(*(append(scene, str(number)) for number in range(8)))
    rows = await log(scene)
    assert [row.seq for row in rows] == list(range(1, 9))
    assert [row.previous for row in rows] == ["0" * 64, *(row.hash for row in rows[:-1])]
    assert {row.object for row in rows} == {str(number) for number in range(8)}


async def test_an_entry_that_is_rolled_back_leaves_no_gap(scene: Scene) -> None:
    await append(scene, "kept")
    async with scene.sessions() as session:
        await audit.append(session, scene.organisation, scene.key, "tested", "lost", {})
        await session.rollback()
    await append(scene, "kept too")
    assert [(row.seq, row.object) for row in await log(scene)] == [(1, "kept"), (2, "kept too")]


async def test_organisations_have_separate_chains(scene: Scene) -> None:
    other = await Scene(scene.engine).create()
    async with scene.sessions.begin() as session:
        await audit.append(session, scene.organisation, scene.key, "tested", "here", {})
        await audit.append(session, other.organisation, None, "tested", "there", {})
        await audit.append(session, scene.organisation, scene.key, "tested", "here too", {})
    assert [(row.seq, row.object) for row in await log(scene)] == [(1, "here"), (2, "here too")]
    assert [(row.seq, row.previous, row.object) for row in await log(other)] == [(1, FIRST_PREVIOUS, "there")]


async def test_an_open_transaction_with_an_entry_holds_nobody_up(scene: Scene) -> None:
    async with scene.sessions.begin() as session:
        await audit.append(session, scene.organisation, scene.key, "tested", "slow", {})
        await session.execute(text("SELECT 1"))
        async with asyncio.timeout(60):
            job = await scene.job()
    assert [row.object for row in await log(scene)][-2:] == [job, "slow"], "entries stand in the order of the commits"


@pytest.mark.parametrize(
    "statement",
    ["UPDATE audit SET action = 'x'", "DELETE FROM audit", "TRUNCATE audit", "TRUNCATE organisations CASCADE"],
)
async def test_the_owner_of_the_tables_cannot_change_an_entry(scene: Scene, statement: str) -> None:
    await append(scene, "kept")
    before = [row.hash for row in await log(scene)]
    with pytest.raises(DBAPIError, match="append-only"):
        async with scene.sessions.begin() as session:
            await session.execute(text(statement))
    assert [row.hash for row in await log(scene)] == before
