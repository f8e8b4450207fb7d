"""Jobs: the request, and the job as the API shows it."""

from datetime import date, datetime
from typing import Annotated, Any, Literal, get_args

from pydantic import AliasChoices, Field, field_validator, model_validator

from core.schema.deadlines import DeadlineExtension
from core.schema.deprecation import DEPRECATED, resolve_alias
from core.schema.evaluation import MeasurementChoice, SetName
from core.schema.job_sources import FileSource, ForgetSource, RetainKind, RetainSource
from core.schema.policies import POLICY_NAME, Bounds
from core.schema.preflight import Estimate
from core.schema.strict import Answer, Strict
from core.schema.timestamps import UtcDatetime
from core.schema.training import Training, TrainingRequest
from core.schema.verdict_parts import Verdict
from core.schema.webhook_target import WebhookTarget, WebhookUsed

JobKind = Literal["unlearn", "preview", "measure"]
"""`preview` (a dry run) measures the model and what it remembers of the forget set, and changes nothing. `measure` only
measures, on any sets; `/v1/measurements` makes such jobs."""
Status = Literal["queued", "running", "paused", "succeeded", "failed", "cancelled"]
Phase = Literal["loading", "measuring_before", "unlearning", "saving", "measuring_after", "attacking"]
MEASURING_PHASES: tuple[Phase, ...] = ("measuring_before", "measuring_after", "attacking")
Requested = Literal["pause", "cancel"]
Outcome = Literal["unlearned", "nothing_to_forget", "preview"]
Output = Literal["full", "adapter", "merged"]
"""The content of a checkpoint: the whole model (a trained adapter is merged into it), or the adapter alone."""
Part = Literal["trains", "measures"]
"""The only use of a file whose records are otherwise split: one half trains or calibrates, the other half measures."""
Origin = Literal["request", "model", "made", "made_by_swapping", "made_by_the_model"]
"""Where a set of a job comes from. `request`: a file or records of the request. `model`: a default file of the model.
`made`: neither has the set, and the job will make it. Once it has: `made_by_swapping` (copies of the records to forget
with other names, numbers, places and dates) or `made_by_the_model` (texts that the model wrote by itself)."""

TERMINAL: frozenset[Status] = frozenset({"succeeded", "failed", "cancelled"})
"""The statuses in which a job has ended. Only a person's retry leads on, and only from `failed`."""

UNFULFILLED: tuple[Status, ...] = ("queued", "running", "paused", "failed")
"""The statuses in which a job's deadline still counts: a failed job has not fulfilled its request. It is retried, or
cancelled once the request is withdrawn or answered in another way."""


class MethodChoice(Strict, extra="allow"):
    """A method's name, with its parameters as further fields (`GET /v1/methods/{name}` shows their schema)."""

    name: str = Field(max_length=64, description="The method's name. `GET /v1/methods` lists them.")

    @property
    def parameters(self) -> dict[str, Any]:
        return dict(self.model_extra or {})


class Resources(Strict):
    """The hardware that a job asks for."""

    gpus: int | None = Field(
        default=None,
        ge=0,
        le=64,
        description="The number of GPUs. 0: the job runs on the CPU. Default: 1 if a worker has a GPU, else 0.",
    )


class EvaluationRequest(Strict):
    """The measurements of a job, and the policy that its result must meet."""

    measure: list[Annotated[str, Field(max_length=64)] | MeasurementChoice] = Field(
        default=["standard"],
        min_length=1,
        max_length=64,
        description="`standard`, `thorough`, or measurements by name, with their parameters as further fields. The"
        " measurements that the policy needs are added.",
        examples=[["standard", {"name": "gradnorm", "records": 500}]],
    )
    policy: Annotated[str, Field(pattern=POLICY_NAME)] | Bounds | None = Field(
        default=None,
        description="The name of a policy, or bounds written in the request. They can add bounds to the policy that is"
        " pinned to the model, or make its bounds tighter, never looser. Default: the pinned policy.",
        examples=["default"],
    )


class EvaluationUsed(Answer):
    """The measurements of a job, and its policy."""

    measure: list[str | MeasurementChoice] = Field(description="The measurements.")
    policy: str | None = Field(description="The policy's name. The job's metrics hold the whole policy.")


class JobRequest(Strict):
    """The body of `POST /v1/jobs`."""

    model: str = Field(max_length=256, examples=["demo"], description="The id of a registered model.")
    start: str = Field(
        default="head",
        alias="from",
        max_length=64,
        description="Where the job starts. `head`: the model's newest released checkpoint. `base`: the model as it was"
        " registered.",
    )
    forget: ForgetSource = Field(description="The text that the model must forget.")
    retain: list[RetainSource] | None = Field(
        default=None, max_length=16, description="Text that the model must keep. Default: the model's own retain file."
    )
    unseen: FileSource | None = Field(
        default=None,
        description="Text like the text to forget that the model never saw. If the model has an unseen file of its"
        " own, that file measures, and this one is used for training only.",
    )
    probes: FileSource | None = Field(default=None, description="Questions about the text to forget.")
    method: MethodChoice | Annotated[str, Field(max_length=64)] = Field(
        default="calibrated",
        description="The name of a method, or an object with the name and the method's parameters.",
    )
    training: TrainingRequest = Field(
        default=TrainingRequest(),
        description="Settings of the training. The method and the model's size decide those that are left out.",
    )
    output: Output = Field(
        default="full",
        description="What the checkpoint holds. `full` or `merged`: the whole model, with a trained adapter merged into"
        " it. `adapter`: the adapter alone, which never becomes the model's head.",
    )
    resources: Resources = Field(default=Resources(), description="The hardware that the job asks for.")
    evaluation: EvaluationRequest = Field(
        default=EvaluationRequest(), description="What is measured, and which policy the result must meet."
    )
    retrained_model: str | None = Field(
        default=None,
        max_length=96,
        description="The id of a registered model that was retrained without the text to forget. The result is compared"
        " with its figures. Without such a model, the figures of unseen text stand in for them.",
    )
    reference_model: str | None = Field(
        default=None, max_length=96, json_schema_extra=DEPRECATED, description="The older name of `retrained_model`."
    )
    combine: bool = Field(
        default=False,
        description="Whether the job may share a run with other waiting jobs on the same model: the model is trained"
        " once to forget the text of all of them. Each job keeps its own figures, verdict, report and statement, and"
        " its data is deleted by itself. Only jobs with `combine` share a run, and only where `from`, method, training,"
        " output, GPUs, measurements, policy and all sets but the text to forget and the probes are the same. Not for a"
        " dry run, nor with a `retrained_model`.",
    )
    dry_run: bool = Field(
        default=False,
        description="A dry run changes nothing. It checks the request, estimates memory and time, and measures what the"
        " model remembers of the text to forget, and everything else in `evaluation.measure`, also for the"
        " `retrained_model` if the request names one. The job's `outcome` is `nothing_to_forget` if the figures show"
        " that, else `preview`.",
    )
    external_reference: str | None = Field(
        default=None,
        max_length=256,
        examples=["DSR-2026-0142"],
        description="Your own name for the request, such as the number of a ticket. It is in the report and in the"
        " signed statement, and stays when the text to forget is deleted: name a case or a role, not a person.",
    )
    reference: str | None = Field(
        default=None,
        max_length=256,
        json_schema_extra=DEPRECATED,
        description="The older name of `external_reference`.",
    )
    received_at: UtcDatetime | None = Field(
        default=None,
        description="When the request to forget came in. It may not lie in the future. Default: now.",
        examples=["2026-11-20T09:30:00Z"],
    )
    due: date | None = Field(
        default=None,
        description="The last day on which the job may be done. Default: one calendar month after the day of"
        " `received_at` (the month's last day if that month is too short); a dry run has no deadline by default.",
        examples=["2026-12-20"],
    )
    webhook: WebhookTarget | None = Field(
        default=None,
        description="Where a signed message is sent to when the job ends (Standard Webhooks; docs/webhooks.md).",
    )
    metadata: dict[Annotated[str, Field(max_length=64)], Annotated[str, Field(max_length=512)]] = Field(
        default={}, max_length=16, description="Your own names and values. The service only stores them."
    )

    @field_validator("start")
    @classmethod
    def _known_start(cls, start: str) -> str:
        if start not in ("head", "base"):
            raise ValueError("start from 'head' or 'base'")
        return start

    @model_validator(mode="after")
    def _older_names(self) -> "JobRequest":
        self.retrained_model = resolve_alias(
            self.retrained_model, self.reference_model, "retrained_model", "reference_model"
        )
        self.external_reference = resolve_alias(
            self.external_reference, self.reference, "external_reference", "reference"
        )
        return self

    @model_validator(mode="after")
    def _combines(self) -> "JobRequest":
        if self.combine and self.dry_run:
            raise ValueError("combine: a dry run trains nothing, so that it shares no run")
        if self.combine and self.retrained_model is not None:
            raise ValueError("combine: a retrained model goes with one request, so that such a job shares no run")
        return self

    def method_choice(self) -> MethodChoice:
        """Returns the method's name with its parameters, in whichever form the request has it."""
        return MethodChoice(name=self.method) if isinstance(self.method, str) else self.method


class SetUsed(Answer):
    """A data set of a job: digests and counts, no text."""

    name: SetName = Field(description="The set's name.")
    file: str | None = Field(
        description="The file's id. Null: the records were in the request, or the job makes them (`origin`)."
    )
    kind: RetainKind | None = Field(
        default=None, description="Of a retain set: `in_distribution` (like the text to forget) or `general`."
    )
    weight: float | None = Field(default=None, description="Of a retain set: its share among the retain sets.")
    part: Part | None = Field(
        default=None,
        description="`trains`: the file is used for training only, because a file that is pinned to the model"
        " `measures`. Null: one half trains, the other half measures.",
    )
    records: int = Field(description="The number of records. 0 while the job has still to make them.")
    sha256: str | None = Field(
        description="The sha256 of the file's bytes. Null for records in the request, and after the file was deleted:"
        " from the plain digest of a short text its content can be guessed."
    )
    hmac_sha256: str | None = Field(
        default=None,
        description="After the file was deleted: the HMAC-SHA256 of its sha256 under a key of the service, by which the"
        " operator can still tell whether a text was the file's.",
    )
    origin: Origin | None = Field(
        default=None,
        description="Where the set comes from. `request` or `model`: a file that the request names, or a default file"
        " of the model. `made`: neither has the set, so the job makes it: `made_by_swapping`, copies of the records to"
        " forget with other names, numbers, places and dates, or `made_by_the_model`, texts that the model writes by"
        " itself. Null: a job from before the service kept this.",
    )


class Progress(Answer):
    """How far a job is."""

    step: int = Field(description="Training updates made so far.")
    steps: int | None = Field(description="Training updates in all. Null: the training has not begun.")
    fraction: float = Field(description="The share of the whole job that is done, measuring included, from 0 to 1.")
    eta: float | None = Field(description="Seconds that the rest of the job may take.")


class JobError(Answer):
    """Why a job failed."""

    code: str = Field(description="The error's name, for programs.")
    message: str = Field(description="The error in words, and what to do next.")
    blame: Literal["user", "service"] = Field(
        description="`user`: the request or the data caused the error. `service`: the service did."
    )
    retryable: bool = Field(description="Whether a retry can help.")


class MethodUsed(Answer):
    """The method of a job."""

    name: str = Field(description="The method's name.")
    parameters: dict[str, Any] = Field(description="All parameters, defaults included.")


class JobWarning(Answer):
    """Something that a person should know about a job."""

    code: str = Field(description="The warning's name, for programs.")
    message: str = Field(description="The warning in words.")


class Job(Answer):
    """A job as the API shows it."""

    id: str = Field(description="The job's id, `job-…`.")
    object: Literal["job"] = Field(default="job", description="Always `job`.")
    kind: JobKind = Field(
        description="`unlearn`: the job changes the model. `preview`: a dry run. `measure`: it only measures."
    )
    status: Status = Field(description="The job's status now.")
    requested: Requested | None = Field(description="A pause or a cancellation that was asked for and is not done yet.")
    phase: Phase | None = Field(description="The phase that a running job is in.")
    outcome: Outcome | None = Field(
        description="The result of a job that has succeeded: `unlearned`, or of a dry run `nothing_to_forget` or"
        " `preview`."
    )
    progress: Progress | None = Field(description="How far the job is. Null: that is not known.")
    waiting_for: str | None = Field(default=None, description="Why a queued job has not started.")
    model: str = Field(description="The registered model's id.")
    start: str = Field(
        validation_alias=AliasChoices("start", "from"),
        serialization_alias="from",
        description="Where the job starts: `head` or `base`.",
    )
    method: MethodUsed = Field(description="The method with all its parameters.")
    training: Training = Field(description="All settings of the training, defaults included.")
    output: Output = Field(description="What the checkpoint holds.")
    data: list[SetUsed] = Field(description="The job's data sets: digests and counts.")
    evaluation: EvaluationUsed = Field(description="What is measured, and by which policy the result is judged.")
    combine: bool = Field(
        description="Whether the job may share a run with other jobs. False too once a shared run has failed: then the"
        " job runs by itself."
    )
    shared_run: str | None = Field(
        description="The id of the job that leads the run which this job shares, itself included. Null: it has a run of"
        " its own."
    )
    retrained_model: str | None = Field(
        description="The id of the registered model that was retrained without the text to forget."
    )
    reference_model: str | None = Field(
        json_schema_extra=DEPRECATED, description="The older name of `retrained_model`, with the same value."
    )
    verdict: Verdict | None = Field(description="The verdict by the policy. Null until the job has succeeded.")
    checkpoint: str | None = Field(description="The id of the checkpoint that the job made.")
    released: bool | None = Field(
        description="Whether the checkpoint may be downloaded. False: it waits for a person's decision. Null: there is"
        " no checkpoint yet."
    )
    error: JobError | None = Field(description="Why the job failed.")
    warnings: list[JobWarning] = Field(description="What a person should know.")
    estimate: Estimate | None = Field(
        default=None, description="Memory and time that the service expected when the job was submitted."
    )
    attempts: int = Field(description="How often a worker has started the job.")
    submitter: str = Field(description="The id of the key that the job was submitted with.")
    external_reference: str | None = Field(
        description="The submitter's own name for the request, such as the number of a ticket."
    )
    reference: str | None = Field(
        json_schema_extra=DEPRECATED, description="The older name of `external_reference`, with the same value."
    )
    received_at: datetime = Field(description="When the request that the job fulfils came in.")
    due: date | None = Field(description="The last day on which the job may be done. Null: there is no deadline.")
    extensions: list[DeadlineExtension] = Field(description="The extensions of the deadline, oldest first.")
    webhook: WebhookUsed | None = Field(description="Where the job's end is reported to. Null: nowhere.")
    metadata: dict[str, str] = Field(description="The submitter's own names and values.")
    created_at: datetime = Field(description="When the job was submitted.")
    started_at: datetime | None = Field(description="When a worker first started the job.")
    finished_at: datetime | None = Field(description="When the job ended.")
    links: dict[str, str] = Field(description="Addresses of what belongs to the job.")


STATUSES: tuple[Status, ...] = get_args(Status)
