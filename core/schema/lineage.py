"""The lineage of a model: each checkpoint that jobs made of it, and the checkpoint that its job started from."""

from datetime import datetime
from typing import Literal

from pydantic import Field

from core.schema.strict import Answer
from core.schema.verdict_parts import Verdict


class LineageEntry(Answer):
    """A checkpoint of the model, with its parent."""

    checkpoint: str = Field(description="The checkpoint's id, `ckpt-…`.")
    object: Literal["lineage.entry"] = Field(default="lineage.entry", description="Always `lineage.entry`.")
    parent: str | None = Field(
        description="The checkpoint that its job started from. Null: the job started from the registered model itself."
    )
    job: str = Field(description="The id of the job that made it.")
    external_reference: str | None = Field(description="The submitter's own name for the request.")
    method: str = Field(description="The method's name.")
    digest: str = Field(description="The checkpoint's digest.")
    verdict: Verdict = Field(description="The verdict by the job's policy.")
    released: bool = Field(description="Whether the checkpoint may be downloaded, and later jobs may start from it.")
    in_head: bool = Field(
        description="Whether the model's head is this checkpoint, has the same files (of a job that shared the run), or"
        " came from it over any number of jobs: then what the job made the model forget is forgotten in the head too,"
        " as far as later jobs did not change that."
    )
    created_at: datetime = Field(description="When its job finished.")
