"""A worker's writes while its child works: phase, progress, curves, measurements, warnings. Each checks the fence."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import null
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from core.records import events
from core.records.leases import lock_job
from core.records.tables import CurveRow, MeasurementRow
from core.schema.evaluation import Measurements, Moment
from core.schema.event_types import EventType
from core.schema.jobs import SetUsed
from core.schema.previously_forgotten import KeptFigures


async def set_phase(session: AsyncSession, job: str, fence: int, name: str) -> None:
    row = await lock_job(session, job, fence)
    row.phase = name
    await events.append(session, row, EventType.PHASE, {"phase": name})


async def add_event(session: AsyncSession, job: str, fence: int, type: EventType, data: dict[str, Any]) -> None:
    """Adds an event that changes nothing of the job; `data` never holds a record's text."""
    await events.append(session, await lock_job(session, job, fence), type, data)


async def add_warning(session: AsyncSession, job: str, fence: int, code: str, message: str) -> None:
    """Adds a warning to the job, once per code, and to its events."""
    row = await lock_job(session, job, fence)
    if any(warning["code"] == code for warning in row.warnings):
        return
    warning = {"code": code, "message": message}
    row.warnings = [*row.warnings, warning]
    await events.append(session, row, EventType.WARNING, warning)


async def set_made_sets(session: AsyncSession, job: str, fence: int, sets: Sequence[SetUsed]) -> None:
    """Names the sets that the job has made among its data, in place of those that it was to make."""
    row = await lock_job(session, job, fence)
    brought = [used for used in row.data if not (used.get("origin") or "").startswith("made")]
    row.data = [*brought, *(used.model_dump(mode="json") for used in sets)]


async def set_steps(
    session: AsyncSession,
    job: str,
    fence: int,
    *,
    step: int,
    steps: int,
    eta_seconds: float | None,
    points: Sequence[tuple[int, str, float]],
) -> None:
    """Sets the progress and writes a batch of curve points `(step, name, value)`.

    A later attempt overwrites an earlier attempt's points. The rest of training takes `eta_seconds`.
    """
    row = await lock_job(session, job, fence)
    row.step, row.steps = step, steps
    if row.fraction is None:  # else `set_fraction` has set the time left of the whole job
        row.eta_seconds = eta_seconds
    if points:
        rows = [{"job": job, "step": at, "name": name, "value": value} for at, name, value in points]
        query = insert(CurveRow).values(rows)
        await session.execute(
            query.on_conflict_do_update(index_elements=["job", "name", "step"], set_={"value": query.excluded.value})
        )
    await events.announce(session, row)


async def set_fraction(
    session: AsyncSession, job: str, fence: int, *, fraction: float, eta_seconds: float | None
) -> None:
    """Sets the share of the whole job that is done, 0 to 1, and the seconds that the rest may take."""
    row = await lock_job(session, job, fence)
    row.fraction, row.eta_seconds = fraction, eta_seconds
    await events.announce(session, row)


async def add_measurements(
    session: AsyncSession,
    job: str,
    fence: int,
    moment: Moment,
    measurements: Measurements,
    kept: KeptFigures | None = None,
) -> None:
    row = await lock_job(session, job, fence)
    query = insert(MeasurementRow).values(
        job=job,
        moment=moment,
        fence=fence,
        measurements=measurements.model_dump(mode="json"),
        kept=null() if kept is None else kept.model_dump(mode="json"),
    )
    values = {"fence": fence, "measurements": query.excluded.measurements, "kept": query.excluded.kept}
    await session.execute(query.on_conflict_do_update(index_elements=["job", "moment"], set_=values))
    perplexities = {
        name: figures["perplexity"].value for name, figures in measurements.sets.items() if "perplexity" in figures
    }
    await events.append(session, row, EventType.MEASURED, {"moment": moment, "perplexity": perplexities})
