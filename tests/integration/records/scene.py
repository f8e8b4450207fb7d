"""Rows that a job needs: an organisation, a key, a model; made as the service makes them."""

from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker

from core.records import jobs, lease_recovery, models
from core.records.tables import ApiKey, EventRow, JobRow, ModelRow, Organisation
from core.schema.default_policy import DEFAULT_POLICY
from core.schema.evaluation import Figure
from core.schema.ids import new_id
from core.schema.models import ReleasePolicy
from core.schema.policies import JudgedBound, Judgement, Result
from core.schema.training import Training
from core.schema.verdict_parts import Reason, Verdict
from core.unlearning.objectives import METHODS

TRAINING = Training(
    learning_rate=1e-3,
    scheduler="constant",
    warmup=0.0,
    optimizer="adamw",
    weight_decay=0.0,
    epochs=1,
    records_per_step=8,
    max_length=64,
    chat="raw",
    precision="float32",
    seed=0,
    gradient_clip=1.0,
    micro_batch_tokens=4096,
)
_EXPIRE = "UPDATE jobs SET lease_expires_at = clock_timestamp() - interval '1 second' WHERE id = :job"


def judgement(verdict: Verdict, reason: Reason | None = None) -> Judgement:
    """A judgement by the default policy in which every bound has the same result."""
    results: dict[Verdict, Result] = {"passed": "passed", "failed": "failed", "not_judged": "underpowered"}
    if verdict == "not_judged" and reason is None:
        reason = "underpowered"
    bounds = [
        JudgedBound(
            bound=bound,
            value=0.05,
            low=0.01,
            high=0.09,
            limit_low=bound.low,
            limit_high=bound.high,
            result=results[verdict],
            why=reason,
            carries=True,
            records=200,
            figure=Figure(value=0.06, low=0.02, high=0.1, records=200),
            compared=Figure(value=0.01, low=0.0, high=0.02, records=200),
        )
        for bound in DEFAULT_POLICY.bounds
    ]
    return Judgement(policy=DEFAULT_POLICY.name, verdict=verdict, reason=reason, scope="verbatim", bounds=bounds)


@dataclass
class Scene:
    """One organisation on a database, with the tests' actions on it."""

    engine: AsyncEngine
    organisation: str = field(default_factory=lambda: new_id("org"))
    key: str = field(default_factory=lambda: new_id("key"))
    sessions: async_sessionmaker[AsyncSession] = field(init=False)

    def __post_init__(self) -> None:
        self.sessions = async_sessionmaker(self.engine, expire_on_commit=False)

    async def create(self) -> "Scene":
        async with self.sessions.begin() as session:
            session.add(Organisation(id=self.organisation, name=self.organisation))
            await session.flush()
            session.add(
                ApiKey(
                    id=self.key,
                    organisation=self.organisation,
                    name="tests",
                    prefix="test",
                    hash=self.key.encode(),
                    scopes=["admin"],
                )
            )
        return self

    async def model(
        self, name: str = "demo", directory: str | None = "/nowhere", release: ReleasePolicy = "always"
    ) -> str:
        row = ModelRow(
            organisation=self.organisation,
            id=name,
            source="a directory",
            directory=directory,
            dtype="float32",
            status="ready",
            defaults={},
            release=release,
        )
        async with self.sessions.begin() as session:
            await models.add(session, row)
        return name

    async def job(self, *, model: str = "demo", files: list[jobs.FileUse] | None = None, **values: Any) -> str:
        """A queued job from the base model on the CPU, unless `values` say otherwise; returns its id."""
        columns: dict[str, Any] = {
            "id": new_id("job"),
            "organisation": self.organisation,
            "submitter": self.key,
            "kind": "unlearn",
            "model": model,
            "start": "base",
            "method": "gradient_ascent",
            "parameters": {},
            "training": TRAINING.model_dump(mode="json"),
            "data": [],
            "gpus": 0,
        }
        method = METHODS.get(values.get("method", columns["method"]))
        if method is not None:
            columns["parameters"] = method().model_dump(mode="json")
        row = JobRow(**(columns | values))
        async with self.sessions.begin() as session:
            await jobs.create(session, row, files or [])
        return row.id

    async def row(self, job: str) -> JobRow:
        async with self.sessions() as session:
            row = await jobs.get(session, self.organisation, job)
        assert row is not None
        return row

    async def events(self, job: str) -> list[EventRow]:
        async with self.sessions() as session:
            rows = await session.scalars(select(EventRow).where(EventRow.job == job).order_by(EventRow.seq))
            return list(rows)

    async def expire_lease(self, job: str) -> None:
        """Expires the lease, as if the worker had been silent for too long."""
        async with self.sessions.begin() as session:
            await session.execute(text(_EXPIRE), {"job": job})

    async def recover(self, job: str) -> None:
        """Takes the job from a worker that still works, as the sweeper would: no heartbeat comes between."""
        async with self.sessions.begin() as session:
            await session.execute(text(_EXPIRE), {"job": job})
            assert job in await lease_recovery.recover_expired(session, max_failures=5)

    async def end_delay(self, job: str) -> None:
        """Ends the delay before the next attempt."""
        async with self.sessions.begin() as session:
            await session.execute(text("UPDATE jobs SET run_after = clock_timestamp() WHERE id = :job"), {"job": job})
