"""Measuring a model without unlearning: the request, and the measurement as the API shows it."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

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
        description="how `messages` become text: `auto` (the default) by the tokenizer's chat template where it has"
        " one that writes them, `template`, or `raw`",
    )
    seed: int | None = Field(default=None, ge=0, lt=2**31)


class MeasurementRequest(Strict):
    """`POST /v1/measurements`: a model, and at least one set. The model's default files have no part in it."""

    model: str = Field(max_length=96, examples=["demo"])
    start: str = Field(
        default="head",
        alias="from",
        pattern=START,
        description="`head` (as it is now), `base`, or a checkpoint of the model by its id",
    )
    forget: ForgetSource | None = None
    retain: list[FileSource] | None = Field(default=None, max_length=16)
    unseen: FileSource | None = None
    general: FileSource | None = None
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
    reading: Reading = Reading()
    reference_model: str | None = Field(
        default=None, max_length=96, description="a registered model that was retrained without the forget set"
    )
    resources: Resources = Resources()
    metadata: dict[Annotated[str, Field(max_length=64)], Annotated[str, Field(max_length=512)]] = Field(
        default={}, max_length=16
    )

    @model_validator(mode="after")
    def _something_to_measure_on(self) -> "MeasurementRequest":
        if not any((self.forget, self.retain, self.unseen, self.general, self.probes, self.protected)):
            raise ValueError("name at least one set of records")
        return self

    @field_validator("retain")
    @classmethod
    def _not_empty(cls, retain: list[FileSource] | None) -> list[FileSource] | None:
        return retain or None


class ReadingUsed(Answer):
    max_length: int
    chat: str
    seed: int


class Measurement(Answer):
    """A measurement as the API shows it: aggregates only."""

    id: str
    object: Literal["measurement"] = "measurement"
    status: Status
    requested: Requested | None
    phase: Phase | None
    waiting_for: str | None = None
    model: str
    start: str = Field(serialization_alias="from", description="`base`, or the checkpoint that was the head then")
    data: list[SetUsed]
    measure: list[str | MeasurementChoice]
    preset: str | None
    reading: ReadingUsed
    reference_model: str | None
    measurements: Measurements | None = Field(description="null until it has succeeded, and in lists")
    reference: Measurements | None = Field(description="the reference model's, beside it")
    table: dict[str, float] | None = Field(description="the preset's table, once it has succeeded")
    error: JobError | None
    warnings: list[JobWarning]
    estimate: Estimate | None = Field(default=None, description="what was expected of it; null in older ones")
    metadata: dict[str, str]
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    links: dict[str, str]
