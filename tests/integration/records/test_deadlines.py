"""Lists by deadline read an index in its order, and extensions that come together add up to the limit once."""

import asyncio
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import event, text
from sqlalchemy.ext.asyncio import AsyncSession

from core.records import deadlines, jobs
from core.records.deadlines import InvalidExtension
from core.schema.deadlines import add_months
from tests.integration.records.scene import Scene

COPY = """
    INSERT INTO jobs (id, organisation, submitter, kind, status, model, start, method, parameters, training, data, gpus,
                      received_at, due)
    SELECT 'job-' || lpad(number::text, 32, '0'), organisation, submitter, kind,
           CASE number % 10 WHEN 0 THEN 'queued' ELSE 'succeeded' END,
           model, start, method, parameters, training, data, gpus, received_at, date '2026-01-01' + number % 700
    FROM jobs, generate_series(1, 20000) AS number WHERE id = :job
"""


@pytest.mark.parametrize(
    ("query", "index"),
    [
        ({"overdue": True}, "ix_jobs_unfulfilled_organisation_due_id"),
        ({"due_before": date(2027, 6, 1)}, "ix_jobs_organisation_due_id"),
    ],
)
async def test_a_page_by_deadline_reads_no_more_rows_than_it_holds(
    scene: Scene, query: dict[str, Any], index: str
) -> None:
    job = await scene.job(due=date(2026, 1, 1))
    async with scene.sessions.begin() as session:
        await session.execute(text(COPY), {"job": job})
    async with scene.engine.connect() as connection:
        await connection.execution_options(isolation_level="AUTOCOMMIT")
        await connection.execute(text("VACUUM ANALYZE jobs"))
    statements: list[tuple[str, tuple[object, ...]]] = []
    async with scene.engine.connect() as connection:
        assert connection.sync_connection is not None

        def remember(_: object, __: object, statement: str, parameters: tuple[object, ...], *___: object) -> None:
            statements.append((statement, parameters))

        event.listen(connection.sync_connection, "before_cursor_execute", remember)
        session = AsyncSession(bind=connection)
        rows = await jobs.page(session, scene.organisation, limit=20, after=f"job-{5000:032}", **query)
        event.remove(connection.sync_connection, "before_cursor_execute", remember)
        assert len(rows) == 20
        statement, parameters = statements[-1]
        lines = (await connection.exec_driver_sql(f"EXPLAIN ANALYZE {statement}", parameters)).scalars()
        plan = "\n".join(lines)
    assert f"using {index} on jobs" in plan, plan
    assert "Sort" not in plan, plan
    assert "Rows Removed by Filter" not in plan, plan


async def test_extensions_that_come_together_are_made_one_after_the_other(scene: Scene) -> None:
    due = datetime.now(UTC).date() + timedelta(days=5)
    job = await scene.job(due=due)

    async def extend(number: int) -> bool:
        async with scene.sessions.begin() as session:
            reason, last = str(number), add_months(due, 2)
            try:
                await deadlines.extend(session, scene.organisation, job, due=last, reason=reason, key=scene.key)
            except InvalidExtension:
                return False
        return True

    extended = await asyncio.gather(*map(extend, range(5)))
    row = await scene.row(job)
    assert sorted(extended) == [False, False, False, False, True]
    assert (len(row.extensions), row.due) == (1, add_months(due, 2))


async def test_a_deadline_at_the_end_of_the_calendar_cannot_be_extended(scene: Scene) -> None:
    job = await scene.job(due=date.max)
    async with scene.sessions.begin() as session:
        with pytest.raises(InvalidExtension, match="9999-12-31"):
            await deadlines.extend(session, scene.organisation, job, due=None, reason="x", key=scene.key)
