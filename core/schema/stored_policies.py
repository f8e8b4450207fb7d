"""Policies as the API shows them."""

from datetime import datetime
from typing import Literal

from pydantic import Field

from core.schema.policies import Bound
from core.schema.strict import Answer
from core.schema.verdict_parts import Requires


class StoredPolicy(Answer):
    """A policy, and the key that created it."""

    name: str = Field(description="the name by which models and requests refer to it")
    object: Literal["policy"] = Field(default="policy", description="always `policy`")
    description: str | None = Field(description="the purpose of the policy")
    bounds: list[Bound] = Field(description="the bounds; a checkpoint must pass all of them")
    requires: Requires = Field(
        description="the number of records to forget from which each part of the verdict must be passed"
    )
    built_in: bool = Field(description="whether the policy comes with the service")
    created_by: str | None = Field(description="the id of the key that created it; null: it comes with the service")
    created_at: datetime | None = Field(description="when it was created; null: it comes with the service")
