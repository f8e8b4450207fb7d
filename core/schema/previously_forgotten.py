"""Text that earlier jobs made a model forget: the figures that each job keeps of it, and whether it is still forgotten.

A job that starts from the checkpoint of earlier jobs scores their records again, as far as the text is still stored,
and compares each record with the figures that the earlier job kept of it.
"""

from typing import Literal

from pydantic import Field

from core.schema.strict import Strict
from core.schema.training import Chat

KEPT_RECORDS = 64
"""The most records of a request whose figures are kept: a sample by digest, not by seed or order of the file."""

FEWEST_RECORDS = 4
ALL_RECORDS = 1024
"""The records of all earlier requests together, where they are not so many that each has FEWEST_RECORDS."""

State = Literal["forgotten", "returned", "not_measured"]

Unread = Literal["deleted", "unreadable"]
"""Why the text of an earlier request cannot be measured: its file is gone, or is stored but cannot be read."""

Unmeasured = Unread | Literal["no_figures"]
"""Why an earlier request was not measured. `no_figures`: none of the sampled records has figures to compare with."""


def records_of_each(requests: int) -> int:
    """Returns how many records of each of so many earlier requests are measured again at most."""
    return max(FEWEST_RECORDS, min(KEPT_RECORDS, ALL_RECORDS // max(1, requests)))


class RecordFigures(Strict):
    """The figures of one record to forget, without its text."""

    position: int = Field(ge=0, description="The record's place in its file, from 0.")
    loss: float = Field(description="The mean cross entropy of its tokens, in nats.")
    extraction_strength: float = Field(description="The share of the record that comes out after the rest.")
    tokens: int | None = Field(default=None, description="Its scored tokens. Null: kept before they were counted.")


class KeptFigures(Strict):
    """The figures of single records that a job keeps for later jobs, and how the records were read."""

    chat: Chat
    max_length: int
    records: list[RecordFigures]


class EarlierRequest(Strict):
    """An earlier job among those that made the model that a job starts from."""

    job: str = Field(description="The earlier job's id.")
    records: int = Field(description="The number of records that it had to forget.")
    hmac_sha256: str | None = Field(default=None, description="The digest that stands for its deleted file.")
    last_measured: str | None = Field(
        description="The newest job that measured its records, at first itself. Null: no job kept figures of them."
    )
    kept: KeptFigures | None = Field(default=None, description="Null: a job from before figures were kept.")
    digests_kept: bool = Field(
        default=False,
        description="Whether its records can be found in other sets without their text, by digests under the service"
        " key in use.",
    )


class ForgottenFigures(Strict):
    """How well a model knows the measured records of an earlier request."""

    perplexity: float = Field(description="The perplexity of the records.")
    extraction_strength: float = Field(description="The mean extraction strength of the records.")
    extraction_strength_highest: float = Field(description="The extraction strength of the record that is known best.")


class PreviouslyForgotten(Strict):
    """Whether the text of one earlier request is still forgotten."""

    job: str = Field(description="The id of the earlier job that made the model forget it.")
    state: State = Field(
        description="`forgotten`: no measured record has come back. `returned`: at least one has. `not_measured`:"
        " nothing can be told about the new model, for the reason in `reason`."
    )
    records: int = Field(description="The number of records that the earlier job had to forget.")
    measured: int = Field(
        description="The number of them that were measured again: those with the smallest digests, if they are many."
    )
    returned: int = Field(description="The number of measured records that have come back.")
    then: ForgottenFigures | None = Field(
        description="The figures of the same records just after the earlier job. Null: it kept none, or nothing was"
        " measured now."
    )
    now: ForgottenFigures | None = Field(
        description="The figures of these records in the new model. Null: nothing was measured."
    )
    reason: Unmeasured | None = Field(
        default=None,
        description="Why nothing was measured. `deleted`: the text is no longer stored. `unreadable`: it is stored, but"
        " could not be opened or read. `no_figures`: the earlier job kept no figures of the sampled records. Null: they"
        " were measured, or the job is from before reasons were kept.",
    )
    last_measured: str | None = Field(
        default=None,
        description="Where nothing was measured, the id of the last job that measured the text. Null: this job did, or"
        " no job kept figures of single records.",
    )
    hmac_sha256: str | None = Field(
        default=None, description="The digest that stands for the deleted file in the earlier job's `data`."
    )
