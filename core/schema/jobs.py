"""Jobs: the request, the job as the API shows it,"""

from datetime import date, datetime
from typing import Annotated, Any, Literal, get_args

from pydantic import BeforeValidator, Field, field_validator, model_validator

from core.schema.deprecation import DEPRECATED, one_name
from core.schema.evaluation import MeasurementChoice, SetName
from core.schema.file_interpretation import FileInterpretation
from core.schema.policies import POLICY_NAME, Bounds, Verdict
from core.schema.preflight import Estimate
from core.schema.record import Record
from core.schema.record_shapes import normalize_record
from core.schema.strict import Answer, Strict
from core.schema.training import Training, TrainingRequest

JobKind = Literal["unlearn", "preview", "measure"]
"""A `preview` (`dry_run`) measures the model as it is, and what it remembers of the forget set, and changes nothing;
to `measure` is the same without anything that must be forgotten, and belongs to `/v1/measurements`."""
Status = Literal["queued", "running", "paused", "succeeded", "failed", "cancelled"]
Phase = Literal["loading", "measuring_before", "unlearning", "saving", "measuring_after", "attacking"]
MEASURING_PHASES: tuple[Phase, ...] = ("measuring_before", "measuring_after", "attacking")
Requested = Literal["pause", "cancel"]
Outcome = Literal["unlearned", "nothing_to_forget", "preview"]
Output = Literal["full", "adapter", "merged"]
"""What a checkpoint holds: the whole model (with an adapter: merged into it), or the adapter alone."""
Part = Literal["trains", "measures"]
"""What alone a file is for, of those of which one half trains or calibrates and the other measures; null: both."""
RetainKind = Literal["in_distribution", "general"]

TERMINAL: frozenset[Status] = frozenset({"succeeded", "failed", "cancelled"})
"""What ends a job. Only a person's retry leads on from there, and only from `failed`."""


def _in_known_shape(record: Any) -> Any:
    return normalize_record(record, FileInterpretation()) if isinstance(record, dict) else record


InlineRecord = Annotated[
    str | Record, BeforeValidator(_in_known_shape, json_schema_input_type=str | Record | dict[str, Any])
]
"""A text, or an object in any shape that files may have."""


class ForgetSource(Strict):
    """What must be forgotten: an uploaded file, or the records themselves (up to 1 MB), in any shape files may have."""

    file: str | None = Field(default=None, description="id of an uploaded file")
    records: list[InlineRecord] | None = Field(
        default=None, max_length=10_000, description="the records themselves: texts, or objects as in a JSON Lines file"
    )

    @model_validator(mode="after")
    def _one_source(self) -> "ForgetSource":
        if (self.file is None) == (self.records is None):
            raise ValueError("name exactly one of: file, records")
        if self.records is not None and not self.records:
            raise ValueError("the forget set is empty")
        return self

    def inline_records(self) -> list[Record]:
        """The inline records, a bare string being a record of plain text."""
        return [Record(text=one) if isinstance(one, str) else one for one in self.records or []]

    @field_validator("records")
    @classmethod
    def _no_empty_text(cls, records: list[str | Record] | None) -> list[str | Record] | None:
        for number, record in enumerate(records or [], start=1):
            if isinstance(record, str) and not record.strip():
                raise ValueError(f"record {number} is empty")
        return records


class RetainSource(Strict):
    file: str = Field(description="id of an uploaded file")
    kind: RetainKind = Field(default="in_distribution", description="what text it is: like that to forget, or general")
    weight: float = Field(
        default=1.0, gt=0, le=1e6, description="mixes the retain sets; the term's own weight is retain_weight"
    )


class FileSource(Strict):
    file: str = Field(description="id of an uploaded file")


class MethodChoice(Strict, extra="allow"):
    """A method's name, and its parameters beside it (each method has its own schema: `GET /v1/methods/{name}`)."""

    name: str = Field(max_length=64, description="the method's name, see `GET /v1/methods`")

    @property
    def parameters(self) -> dict[str, Any]:
        return dict(self.model_extra or {})


class Resources(Strict):
    gpus: int | None = Field(default=None, ge=0, le=64, description="default: one where a worker has one, else CPU")


class EvaluationRequest(Strict):
    """What is measured, and what the result is held to."""

    measure: list[Annotated[str, Field(max_length=64)] | MeasurementChoice] = Field(
        default=["standard"],
        min_length=1,
        max_length=64,
        description="`standard`, `thorough`, or measurements by name, with parameters beside the name if need be; what"
        " the policy needs is measured too",
        examples=[["standard", {"name": "gradnorm", "records": 500}]],
    )
    policy: Annotated[str, Field(pattern=POLICY_NAME)] | Bounds | None = Field(
        default=None,
        description="a policy by name, or bounds of the request's own; default: the one that is pinned to the model,"
        " whose bounds they add to or make tighter, never looser",
        examples=["default"],
    )


class EvaluationUsed(Answer):
    measure: list[str | MeasurementChoice] = Field(description="what is measured")
    policy: str | None = Field(description="its name; all of it stands with the job's figures")


class JobRequest(Strict):
    """`POST /v1/jobs`."""

    model: str = Field(max_length=256, examples=["demo"], description="a registered model's id")
    start: str = Field(default="head", alias="from", max_length=64, description="`head` or `base`")
    forget: ForgetSource = Field(description="what the model must forget")
    retain: list[RetainSource] | None = Field(
        default=None, max_length=16, description="what must survive; default: the model's"
    )
    unseen: FileSource | None = Field(
        default=None,
        description="where the model has an unseen file of its own, this one only trains: that is the yardstick",
    )
    probes: FileSource | None = Field(default=None, description="questions about what must be forgotten")
    method: MethodChoice | Annotated[str, Field(max_length=64)] = Field(
        default="calibrated", description="a method's name, or its name with parameters beside it"
    )
    training: TrainingRequest = Field(
        default=TrainingRequest(), description="how it trains; what is left out is filled in"
    )
    output: Output = Field(
        default="full",
        description="what the checkpoint holds: the whole model (an adapter merged into it: `merged` says so), or the"
        " `adapter` alone, which never becomes the model's head",
    )
    resources: Resources = Field(default=Resources(), description="what it runs on")
    evaluation: EvaluationRequest = Field(
        default=EvaluationRequest(), description="what is measured, and what the result is held to"
    )
    retrained_model: str | None = Field(
        default=None,
        max_length=96,
        description="a registered model that was retrained without the forget set: its figures take the place of the"
        " approximation by unseen text",
    )
    reference_model: str | None = Field(
        default=None, max_length=96, json_schema_extra=DEPRECATED, description="the older name of `retrained_model`"
    )
    dry_run: bool = Field(
        default=False,
        description="change nothing: check, estimate memory and time, and measure what the model remembers of the"
        " forget set, and whatever else `evaluation.measure` asks for, beside the `retrained_model` where one is named."
        " The job's `outcome` is `nothing_to_forget` where that is shown, else `preview`",
    )
    external_reference: str | None = Field(
        default=None,
        max_length=256,
        examples=["DSR-2026-0142"],
        description="the submitter's own name for the request, such as a ticket's number",
    )
    reference: str | None = Field(
        default=None, max_length=256, json_schema_extra=DEPRECATED, description="the older name of `external_reference`"
    )
    due: date | None = Field(default=None, description="the day by which it must be done")
    metadata: dict[Annotated[str, Field(max_length=64)], Annotated[str, Field(max_length=512)]] = Field(
        default={}, max_length=16, description="the submitter's own pairs"
    )

    @field_validator("start")
    @classmethod
    def _known_start(cls, start: str) -> str:
        if start not in ("head", "base"):
            raise ValueError("start from 'head' or 'base'")
        return start

    @model_validator(mode="after")
    def _older_names(self) -> "JobRequest":
        self.retrained_model = one_name(
            self.retrained_model, self.reference_model, "retrained_model", "reference_model"
        )
        self.external_reference = one_name(self.external_reference, self.reference, "external_reference", "reference")
        return self

    def method_choice(self) -> MethodChoice:
        return MethodChoice(name=self.method) if isinstance(self.method, str) else self.method


class SetUsed(Answer):
    """One data set of a job: digests and counts only."""

    name: SetName = Field(description="which set")
    file: str | None = Field(description="the file's id; null: records sent inline")
    kind: RetainKind | None = Field(default=None, description="of a retain set: what text it is")
    weight: float | None = Field(default=None, description="of a retain set: its share among them")
    part: Part | None = Field(
        default=None,
        description="`trains`: beside a file that is pinned to the model, which `measures`; null: a half for each",
    )
    records: int = Field(description="how many")
    sha256: str | None = Field(
        description="null for what was sent inline: a plain digest of a short text can be guessed"
    )


class Progress(Answer):
    step: int = Field(description="updates made")
    steps: int | None = Field(description="updates in all; null: training has not begun")
    fraction: float = Field(description="of the whole job, measuring included, 0 to 1")
    eta: float | None = Field(description="seconds that the rest of the job may take")


class JobError(Answer):
    code: str = Field(description="for programs")
    message: str = Field(description="for people, with what to do next")
    blame: Literal["user", "service"] = Field(description="whose fault it is")
    retryable: bool = Field(description="whether a retry can help")


class MethodUsed(Answer):
    name: str = Field(description="the method's name")
    parameters: dict[str, Any] = Field(description="with every default filled in")


class JobWarning(Answer):
    code: str = Field(description="for programs")
    message: str = Field(description="for people")


class Job(Answer):
    """A job as the API shows it."""

    id: str = Field(description="its id, `job-…`")
    object: Literal["job"] = Field(default="job", description="always `job`")
    kind: JobKind = Field(description="what it does")
    status: Status = Field(description="what is true of it now")
    requested: Requested | None = Field(description="what was asked of it and is not done yet")
    phase: Phase | None = Field(description="what it does while it runs")
    outcome: Outcome | None = Field(description="what came of it")
    progress: Progress | None = Field(description="how far it is; null: nothing is known of that")
    waiting_for: str | None = Field(default=None, description="why a queued job has not started")
    model: str = Field(description="the registered model's id")
    start: str = Field(serialization_alias="from", description="where it starts: `head` or `base`")
    method: MethodUsed = Field(description="with every parameter")
    training: Training = Field(description="with every default filled in")
    output: Output = Field(description="what the checkpoint holds")
    data: list[SetUsed] = Field(description="its sets: digests and counts")
    evaluation: EvaluationUsed = Field(description="what is measured, and by which policy")
    retrained_model: str | None = Field(description="the registered model that was retrained without the forget set")
    reference_model: str | None = Field(
        json_schema_extra=DEPRECATED, description="the older name of `retrained_model`, with the same value"
    )
    verdict: Verdict | None = Field(description="null until the job has succeeded")
    checkpoint: str | None = Field(description="id of what it delivered")
    released: bool | None = Field(
        description="whether the checkpoint may be had; false: it waits for a person. null: there is none yet"
    )
    error: JobError | None = Field(description="why it failed")
    warnings: list[JobWarning] = Field(description="what a person should know")
    estimate: Estimate | None = Field(default=None, description="what was expected of it when it was submitted")
    attempts: int = Field(description="how often a worker has taken it up")
    submitter: str = Field(description="the key that it was submitted with")
    external_reference: str | None = Field(description="the submitter's own, such as a ticket's number")
    reference: str | None = Field(
        json_schema_extra=DEPRECATED, description="the older name of `external_reference`, with the same value"
    )
    due: date | None = Field(description="the day by which it must be done")
    metadata: dict[str, str] = Field(description="the submitter's own")
    created_at: datetime = Field(description="when it was submitted")
    started_at: datetime | None = Field(description="when a worker first took it up")
    finished_at: datetime | None = Field(description="when it was over")
    links: dict[str, str] = Field(description="addresses of what belongs to it")


STATUSES: tuple[Status, ...] = get_args(Status)
