"""Checkpoints, their release, and a job's figures, as the API shows them."""

from datetime import datetime
from typing import Literal

from pydantic import Field, field_validator

from core.schema.cost import JobCost
from core.schema.deprecation import DEPRECATED
from core.schema.evaluation import Measurements
from core.schema.manifest import FileEntry
from core.schema.policies import Judgement, Policy
from core.schema.strict import Answer, Strict
from core.schema.verdict_parts import Verdict


class Checkpoint(Answer):
    """A checkpoint: the model, or the adapter, that a job made."""

    id: str = Field(description="The checkpoint's id, `ckpt-…`.")
    object: Literal["checkpoint"] = Field(default="checkpoint", description="Always `checkpoint`.")
    job: str = Field(description="The id of the job that made it.")
    step: int = Field(description="The number of training updates after which it was saved.")
    base_model: str = Field(description="The registered model's id.")
    method: str = Field(description="The method's name.")
    bytes: int = Field(description="The size of all files in bytes.")
    digest: str = Field(
        description="The sha256 of the canonical JSON of `files`, which are the bytes of manifest.json in the archive."
    )
    files: list[FileEntry] = Field(description="The files, in order of path.")
    verdict: Verdict | None = Field(description="The verdict by the job's policy.")
    released: bool = Field(description="Whether the files may be downloaded. False: they wait for a person's decision.")
    released_by: str | None = Field(
        description="The id of the key that released it. Null: it is not released, or it needed no person's decision."
    )
    released_at: datetime | None = Field(description="When it was released. Null: it is not released.")
    created_at: datetime = Field(description="When its job finished.")


class ReleaseRequest(Strict):
    """The body of `POST /v1/checkpoints/{id}/release`."""

    reason: str = Field(
        max_length=2000,
        description="Why the checkpoint may be used although it did not pass its policy. The audit log keeps it.",
        examples=["Two records only: no test can tell more. Read by hand, nothing of them is left."],
    )

    @field_validator("reason")
    @classmethod
    def _is_not_blank(cls, reason: str) -> str:
        if not reason.strip():
            raise ValueError("say in words why the checkpoint may be used although it missed its policy")
        return reason


class JobMetrics(Answer):
    """A job's training curves, its figures before and after, and whether they meet the policy."""

    object: Literal["job.metrics"] = Field(default="job.metrics", description="Always `job.metrics`.")
    job: str = Field(description="The job's id.")
    curves: dict[str, list[tuple[int, float]]] = Field(
        description="The curves of the training by name, such as `loss`: pairs of step and value, in order of step."
    )
    before: Measurements | None = Field(description="The figures of the model that the job started from.")
    after: Measurements | None = Field(description="The figures of the checkpoint, which was saved and loaded again.")
    retrained: Measurements | None = Field(description="The figures of the retrained model, if the job names one.")
    reference: Measurements | None = Field(
        json_schema_extra=DEPRECATED, description="The older name of `retrained`, with the same value."
    )
    policy: Policy | None = Field(description="The policy, as it was when the job was submitted.")
    judgement: Judgement | None = Field(
        description="The verdict, with the result of each bound. Null until the job has succeeded."
    )
    cost: JobCost | None = Field(description="What the job took. Null until all its measurements are made.")
