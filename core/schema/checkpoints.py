"""Checkpoints, and a job's figures, as the API shows them."""

from datetime import datetime
from typing import Literal

from pydantic import Field

from core.schema.evaluation import Measurements
from core.schema.jobs import Verdict
from core.schema.manifest import FileEntry
from core.schema.strict import Answer


class Checkpoint(Answer):
    """What a job delivered."""

    id: str
    object: Literal["checkpoint"] = "checkpoint"
    job: str
    step: int
    base_model: str
    method: str
    bytes: int
    digest: str = Field(description="sha256 of the canonical JSON of `files`: the bytes of the archive's manifest.json")
    files: list[FileEntry]
    verdict: Verdict | None
    released: bool = Field(description="false: its bytes wait for a person's decision")
    created_at: datetime


class JobMetrics(Answer):
    """A job's curves, and what was measured before and after."""

    object: Literal["job.metrics"] = "job.metrics"
    job: str
    curves: dict[str, list[tuple[int, float]]] = Field(description="per name: (step, value), by step")
    before: Measurements | None
    after: Measurements | None
