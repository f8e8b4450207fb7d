"""Checkpoints, and a job's figures, as the API shows them."""

from datetime import datetime
from typing import Literal

from pydantic import Field, field_validator

from core.schema.cost import JobCost
from core.schema.deprecation import DEPRECATED
from core.schema.evaluation import Measurements
from core.schema.manifest import FileEntry
from core.schema.policies import Judgement, Policy, Verdict
from core.schema.strict import Answer, Strict


class Checkpoint(Answer):
    """What a job delivered."""

    id: str = Field(description="its id, `ckpt-…`")
    object: Literal["checkpoint"] = Field(default="checkpoint", description="always `checkpoint`")
    job: str = Field(description="the job that made it")
    step: int = Field(description="updates after which it was saved")
    base_model: str = Field(description="the registered model's id")
    method: str = Field(description="the method's name")
    bytes: int = Field(description="of all its files")
    digest: str = Field(description="sha256 of the canonical JSON of `files`: the bytes of the archive's manifest.json")
    files: list[FileEntry] = Field(description="in order of path")
    verdict: Verdict | None = Field(description="on the job's policy")
    released: bool = Field(description="false: its bytes wait for a person's decision")
    released_by: str | None = Field(description="the key that accepted it; null: nobody had to, or nobody has")
    released_at: datetime | None = Field(description="when it was released; null: not yet")
    created_at: datetime = Field(description="when its job finished")


class ReleaseRequest(Strict):
    """`POST /v1/checkpoints/{id}/release`."""

    reason: str = Field(
        max_length=2000,
        description="why it may be used although it missed its policy; kept on the audit log",
        examples=["Two records only: no test can tell more. Read by hand, nothing of them is left."],
    )

    @field_validator("reason")
    @classmethod
    def _says_something(cls, reason: str) -> str:
        if not reason.strip():
            raise ValueError("say in words why the checkpoint may be used although it missed its policy")
        return reason


class JobMetrics(Answer):
    """A job's curves, what was measured before and after, and how that kept the policy."""

    object: Literal["job.metrics"] = Field(default="job.metrics", description="always `job.metrics`")
    job: str = Field(description="the job's id")
    curves: dict[str, list[tuple[int, float]]] = Field(description="per name: (step, value), by step")
    before: Measurements | None = Field(description="of the model that the job started from")
    after: Measurements | None = Field(description="of the checkpoint as it was saved and loaded again")
    retrained: Measurements | None = Field(description="of the retrained model, where the job names one")
    reference: Measurements | None = Field(
        json_schema_extra=DEPRECATED, description="the older name of `retrained`, with the same value"
    )
    policy: Policy | None = Field(description="as it was when the job was submitted")
    judgement: Judgement | None = Field(description="the verdict, bound by bound; null until the job has succeeded")
    cost: JobCost | None = Field(description="what the job took; null until it has been measured to its end")
