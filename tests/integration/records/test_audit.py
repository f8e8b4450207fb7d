"""The audit log is a chain: its hashes show any entry that was changed, removed or inserted."""

import asyncio
import hashlib
import json
from datetime import UTC

from sqlalchemy import select

from core.records import audit
from core.records.tables import AuditRow
from tests.integration.records.scene import Scene


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
    assert [audit.entry_hash(row) for row in (first, second)] == [first.hash, second.hash]
    first.details = {"reason": "another"}
    assert audit.entry_hash(first) != first.hash


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


async def test_organisations_have_separate_chains_and_an_entry_blocks_no_other_row(scene: Scene) -> None:
    other = await Scene(scene.engine).create()
    async with scene.sessions.begin() as session:
        await audit.append(session, scene.organisation, scene.key, "tested", "held", {})
        async with asyncio.timeout(5):
            await append(other, "elsewhere")
            await scene.job()
    assert [row.previous for row in await log(other)] == [audit.FIRST_PREVIOUS]
