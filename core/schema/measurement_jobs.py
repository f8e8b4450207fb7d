"""Measuring a model without unlearning: the request, and the measurement as the API shows it."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import AliasChoices, Field, field_validator, model_validator

from core.schema.deprecation import DEPRECATED, resolve_alias
from core.schema.evaluation import MeasurementChoice, Measurements
from core.schema.job_sources import FileSource, ForgetSource
from core.schema.jobs import (
    JobError,
    JobWarning,
    Phase,
    Requested,
    Resources,
    SetUsed,
    Status,
)
from core.schema.preflight import Estimate
from core.schema.strict import Answer, Strict
from core.schema.training import Chat

START = r"^(head|base|ckpt-[0-9a-f]{32})$"


class Reading(Strict):
    """How records are read. Without a value, records are read as for the measurements of any job on the model."""

    max_length: int | None = Field(
        default=None, ge=2, le=1_048_576, description="Tokens of the longest piece. A longer record is cut into pieces."
    )
    chat: Chat | None = Field(
        default=None,
        description="How all `messages` become text. `template`: by the tokenizer's chat template. `raw`: turn by turn,"
        " without roles. `auto` (the default): by the template if the tokenizer has one, else as `raw`. A record that"
        " the template refuses is an error; it is never read in another way.",
    )
    seed: int | None = Field(default=None, ge=0, lt=2**31, description="The seed of every random choice.")


class MeasurementRequest(Strict):
    """The body of `POST /v1/measurements`: a model and at least one set. The model's default files are not used."""

    model: str = Field(max_length=96, examples=["demo"], description="The id of a registered model.")
    start: str = Field(
        default="head",
        alias="from",
        pattern=START,
        description="What is measured. `head`: the model's newest released checkpoint. `base`: the model as it was"
        " registered. Or the id of one of the model's checkpoints.",
    )
    forget: ForgetSource | None = Field(default=None, description="Text that the model must forget, or has forgotten.")
    retain: list[FileSource] | None = Field(default=None, max_length=16, description="Text that the model must keep.")
    unseen: FileSource | None = Field(
        default=None, description="Text like the text to forget that the model never saw."
    )
    general: FileSource | None = Field(default=None, description="Text that shows the model's general ability.")
    probes: FileSource | None = Field(default=None, description="Questions about the text to forget.")
    protected: FileSource | None = Field(default=None, description="Questions about what the model must keep.")
    measure: list[Annotated[str, Field(max_length=64)] | MeasurementChoice] = Field(
        default=["standard"],
        min_length=1,
        max_length=64,
        description="`standard` (the default, unless a preset is named), `thorough`, or measurements by name, with"
        " their parameters as further fields.",
    )
    preset: str | None = Field(
        default=None,
        max_length=16,
        examples=["tofu"],
        description="`tofu` or `muse`: makes the table of that benchmark, with its own names and definitions, and"
        " whatever `measure` asks for besides.",
    )
    reading: Reading = Field(default=Reading(), description="How records are read.")
    retrained_model: str | None = Field(
        default=None,
        max_length=96,
        description="The id of a registered model that was retrained without the text to forget. It is measured too.",
    )
    reference_model: str | None = Field(
        default=None, max_length=96, json_schema_extra=DEPRECATED, description="The older name of `retrained_model`."
    )
    resources: Resources = Field(default=Resources(), description="The hardware that the measurement asks for.")
    metadata: dict[Annotated[str, Field(max_length=64)], Annotated[str, Field(max_length=512)]] = Field(
        default={}, max_length=16, description="Your own names and values. The service only stores them."
    )

    @model_validator(mode="after")
    def _something_to_measure_on(self) -> "MeasurementRequest":
        if not any((self.forget, self.retain, self.unseen, self.general, self.probes, self.protected)):
            raise ValueError("name at least one set of records")
        return self

    @model_validator(mode="after")
    def _older_name(self) -> "MeasurementRequest":
        self.retrained_model = resolve_alias(
            self.retrained_model, self.reference_model, "retrained_model", "reference_model"
        )
        return self

    @field_validator("retain")
    @classmethod
    def _not_empty(cls, retain: list[FileSource] | None) -> list[FileSource] | None:
        return retain or None


class ReadingUsed(Answer):
    """How the records of a measurement are read."""

    max_length: int = Field(description="Tokens of the longest piece. A longer record is cut into pieces.")
    chat: str = Field(description="How `messages` become text.")
    seed: int = Field(description="The seed of every random choice.")


class Measurement(Answer):
    """A measurement as the API shows it: figures over many records, no record's text."""

    id: str = Field(description="The measurement's id, `meas-…`.")
    object: Literal["measurement"] = Field(default="measurement", description="Always `measurement`.")
    status: Status = Field(description="The measurement's status now.")
    requested: Requested | None = Field(description="A pause or a cancellation that was asked for and is not done yet.")
    phase: Phase | None = Field(description="The phase that a running measurement is in.")
    waiting_for: str | None = Field(default=None, description="Why a queued measurement has not started.")
    model: str = Field(description="The registered model's id.")
    start: str = Field(
        validation_alias=AliasChoices("start", "from"),
        serialization_alias="from",
        description="What is measured: `base`, or the checkpoint's id. A request for `head` is fixed to the checkpoint"
        " that was the head at that time.",
    )
    data: list[SetUsed] = Field(description="The measurement's data sets: digests and counts.")
    measure: list[str | MeasurementChoice] = Field(description="The measurements.")
    preset: str | None = Field(description="The benchmark whose table is made.")
    reading: ReadingUsed = Field(description="How records are read.")
    retrained_model: str | None = Field(
        description="The id of the registered model that was retrained without the text to forget."
    )
    reference_model: str | None = Field(
        json_schema_extra=DEPRECATED, description="The older name of `retrained_model`, with the same value."
    )
    measurements: Measurements | None = Field(
        description="The figures. Null until the measurement has succeeded, and in lists."
    )
    retrained: Measurements | None = Field(description="The retrained model's figures.")
    reference: Measurements | None = Field(
        json_schema_extra=DEPRECATED, description="The older name of `retrained`, with the same value."
    )
    table: dict[str, float] | None = Field(description="The benchmark's table, once the measurement has succeeded.")
    error: JobError | None = Field(description="Why the measurement failed.")
    warnings: list[JobWarning] = Field(description="What a person should know.")
    estimate: Estimate | None = Field(
        default=None, description="Memory and time that the service expected. Null for older measurements."
    )
    metadata: dict[str, str] = Field(description="The submitter's own names and values.")
    created_at: datetime = Field(description="When the measurement was submitted.")
    started_at: datetime | None = Field(description="When a worker first started the measurement.")
    finished_at: datetime | None = Field(description="When the measurement ended.")
    links: dict[str, str] = Field(description="Addresses of what belongs to the measurement.")
