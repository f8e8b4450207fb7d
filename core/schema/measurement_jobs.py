"""Measuring a model without unlearning: the request, and the measurement as the API shows it."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from core.schema.deprecation import DEPRECATED, one_name
from core.schema.evaluation import MeasurementChoice, Measurements
from core.schema.jobs import (
    FileSource,
    ForgetSource,
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
    """How records are read; what is left out is as every job on the model is measured."""

    max_length: int | None = Field(default=None, ge=2, le=1_048_576, description="tokens; longer records are chunked")
    chat: Chat | None = Field(
        default=None,
        description="how all `messages` become text: `auto` (the default) by the tokenizer's chat template where it has"
        " one, else as `raw`; `template`; `raw`: turn by turn, without roles. A record that the template refuses is an"
        " error, never read in another way",
    )
    seed: int | None = Field(default=None, ge=0, lt=2**31, description="of everything that is drawn")


class MeasurementRequest(Strict):
    """`POST /v1/measurements`: a model, and at least one set. The model's default files have no part in it."""

    model: str = Field(max_length=96, examples=["demo"], description="a registered model's id")
    start: str = Field(
        default="head",
        alias="from",
        pattern=START,
        description="`head` (as it is now), `base`, or a checkpoint of the model by its id",
    )
    forget: ForgetSource | None = Field(default=None, description="text that must be forgotten, or was")
    retain: list[FileSource] | None = Field(default=None, max_length=16, description="text that must survive")
    unseen: FileSource | None = Field(default=None, description="text like that to forget which the model never saw")
    general: FileSource | None = Field(default=None, description="text for general ability")
    probes: FileSource | None = Field(default=None, description="questions about what must be forgotten")
    protected: FileSource | None = Field(default=None, description="questions about what must survive")
    measure: list[Annotated[str, Field(max_length=64)] | MeasurementChoice] = Field(
        default=["standard"],
        min_length=1,
        max_length=64,
        description="`standard` (the default, unless a preset is named), `thorough`, or measurements by name, with"
        " parameters beside the name if need be",
    )
    preset: str | None = Field(
        default=None,
        max_length=16,
        examples=["tofu"],
        description="`tofu` or `muse`: measure what their tables hold (beside `measure`, where that is given), and give"
        " the table under their own names and definitions",
    )
    reading: Reading = Field(default=Reading(), description="how records are read")
    retrained_model: str | None = Field(
        default=None, max_length=96, description="a registered model that was retrained without the forget set"
    )
    reference_model: str | None = Field(
        default=None, max_length=96, json_schema_extra=DEPRECATED, description="the older name of `retrained_model`"
    )
    resources: Resources = Field(default=Resources(), description="what it runs on")
    metadata: dict[Annotated[str, Field(max_length=64)], Annotated[str, Field(max_length=512)]] = Field(
        default={}, max_length=16, description="the submitter's own pairs"
    )

    @model_validator(mode="after")
    def _something_to_measure_on(self) -> "MeasurementRequest":
        if not any((self.forget, self.retain, self.unseen, self.general, self.probes, self.protected)):
            raise ValueError("name at least one set of records")
        return self

    @model_validator(mode="after")
    def _older_name(self) -> "MeasurementRequest":
        self.retrained_model = one_name(
            self.retrained_model, self.reference_model, "retrained_model", "reference_model"
        )
        return self

    @field_validator("retain")
    @classmethod
    def _not_empty(cls, retain: list[FileSource] | None) -> list[FileSource] | None:
        return retain or None


class ReadingUsed(Answer):
    max_length: int = Field(description="tokens of a chunk")
    chat: str = Field(description="how `messages` become text")
    seed: int = Field(description="of everything that is drawn")


class Measurement(Answer):
    """A measurement as the API shows it: aggregates only."""

    id: str = Field(description="its id, `meas-…`")
    object: Literal["measurement"] = Field(default="measurement", description="always `measurement`")
    status: Status = Field(description="what is true of it now")
    requested: Requested | None = Field(description="what was asked of it and is not done yet")
    phase: Phase | None = Field(description="what it does while it runs")
    waiting_for: str | None = Field(default=None, description="why it has not started")
    model: str = Field(description="the registered model's id")
    start: str = Field(serialization_alias="from", description="`base`, or the checkpoint that was the head then")
    data: list[SetUsed] = Field(description="its sets: digests and counts")
    measure: list[str | MeasurementChoice] = Field(description="what is measured")
    preset: str | None = Field(description="whose table is given")
    reading: ReadingUsed = Field(description="how records are read")
    retrained_model: str | None = Field(description="the registered model that was retrained without the forget set")
    reference_model: str | None = Field(
        json_schema_extra=DEPRECATED, description="the older name of `retrained_model`, with the same value"
    )
    measurements: Measurements | None = Field(description="null until it has succeeded, and in lists")
    retrained: Measurements | None = Field(description="the retrained model's figures, beside it")
    reference: Measurements | None = Field(
        json_schema_extra=DEPRECATED, description="the older name of `retrained`, with the same value"
    )
    table: dict[str, float] | None = Field(description="the preset's table, once it has succeeded")
    error: JobError | None = Field(description="why it failed")
    warnings: list[JobWarning] = Field(description="what a person should know")
    estimate: Estimate | None = Field(default=None, description="what was expected of it; null in older ones")
    metadata: dict[str, str] = Field(description="the submitter's own")
    created_at: datetime = Field(description="when it was asked for")
    started_at: datetime | None = Field(description="when a worker first took it up")
    finished_at: datetime | None = Field(description="when it was over")
    links: dict[str, str] = Field(description="addresses of what belongs to it")
