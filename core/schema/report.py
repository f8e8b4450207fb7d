"""The report of a job: what was asked, what was done, what was measured, and what that does not prove.

It is made from the service's records alone. It holds digests, counts and figures, never a record's text. Two reports of
one job are equal byte by byte (`canonical_json`) until something is decided about the job: a release, a retry, a
deletion of its data.
"""

import json
from datetime import date, datetime
from typing import Any, Literal

from pydantic import Field

from core.schema.cost import JobCost
from core.schema.environment import Environment
from core.schema.evaluation import Figure, MeasurementChoice, Measurements
from core.schema.figure_names import RelearningAttackName
from core.schema.jobs import JobError, JobKind, JobWarning, MethodUsed, Outcome, Output, SetUsed, Status
from core.schema.manifest import FileEntry
from core.schema.policies import JudgedBound, Policy, Scope
from core.schema.previously_forgotten import PreviouslyForgotten
from core.schema.strict import Answer
from core.schema.training import Training
from core.schema.verdict_parts import Part, Reason, Verdict

VERSION = 8
"""Rises when a field is added, removed or gets another meaning, or when a sentence of a report changes."""

AttemptEnd = Literal["succeeded", "failed", "cancelled", "paused", "requeued"]


class ReportKey(Answer):
    """An API key: the means by which a person or a program acts."""

    id: str = Field(description="The key's id, `key-…`.")
    name: str = Field(description="The name that the organisation gave to the key.")


class ReportRequest(Answer):
    """Who asked for the job, and when."""

    organisation: str = Field(description="The name of the organisation.")
    submitter: ReportKey = Field(description="The key that the job was submitted with.")
    external_reference: str | None = Field(
        description="The organisation's own name for the request, such as the number of a case."
    )
    submitted_at: datetime = Field(description="When the service accepted the job.")
    requester_text: str = Field(
        default="", description="What the service knows of the person who asked, in sentences. Empty before version 6."
    )


class ReportExtension(Answer):
    """One extension of the deadline."""

    previous_due: date = Field(description="The last day until then.")
    due: date = Field(description="The last day from then on.")
    reason: str = Field(description="Why the deadline was extended.")
    extended_by: ReportKey = Field(description="The key that extended it.")
    extended_at: datetime = Field(description="When it was extended.")


class ReportDeadline(Answer):
    """The deadline of the request, and whether it was kept."""

    received_at: datetime = Field(description="When the request came in.")
    received_text: str = Field(default="", description="Who set `received_at`, in a sentence. Empty before version 6.")
    due: date | None = Field(description="The last day on which the job may be done. Null: there is no deadline.")
    due_text: str = Field(default="", description="How `due` was set, in a sentence. Empty before version 6.")
    extensions: list[ReportExtension] = Field(description="The extensions of the deadline, oldest first.")
    ended_at: datetime = Field(description="When the job ended.")
    kept: bool | None = Field(
        description="Whether the job had succeeded by the end of the last day, in UTC. Null: there is no deadline, or"
        " the job has not succeeded."
    )
    kept_text: str = Field(
        default="", description="Whether the deadline was kept, in sentences. Empty before version 6."
    )


class ReportPurge(Answer):
    """The deletion of a file with text to forget."""

    file: str = Field(description="The file's id.")
    deleted: bool = Field(description="Whether the file's key and its bytes are deleted.")
    deleted_at: datetime | None = Field(description="When the audit log recorded the deletion. Null: it did not.")
    expires_at: datetime | None = Field(
        description="When the service deletes the file by itself. Null: it is deleted, or it is kept."
    )


class ReportModel(Answer):
    """The model that the job started from."""

    id: str = Field(description="The registered model's id.")
    repository: str | None = Field(
        description="The Hugging Face repository of the registered model. Null: it was registered from a directory, or"
        " its registration is deleted."
    )
    revision: str | None = Field(description="The commit of the repository.")
    registered_digest: str | None = Field(
        description="The digest of the registered model's files. Null: its registration is deleted."
    )
    start: str = Field(description="Where the job was asked to start: `head`, `base` or a checkpoint's id.")
    start_checkpoint: str | None = Field(
        description="The checkpoint that the job started from. Null: the registered model itself."
    )
    start_digest: str | None = Field(
        description="The digest of the files that the job started from, as they were when they were measured."
    )
    retrained_model: str | None = Field(
        description="The id of the registered model that was retrained without the text to forget."
    )
    retrained_digest: str | None = Field(description="The digest of the retrained model's files.")


class ReportMethod(MethodUsed):
    """The method of the job, with its source."""

    summary: str | None = Field(description="What the method does. Null: this version does not know the method.")
    paper: str | None = Field(description="The title of the method's paper.")
    paper_url: str | None = Field(description="The address of the method's paper.")


class ReportTreatment(Answer):
    """How the job changed the model."""

    method: ReportMethod = Field(description="The method with all its parameters.")
    training: Training = Field(description="All settings of the training.")
    steps: int | None = Field(description="The number of training updates that were made.")


class ReportCheckpoint(Answer):
    """The checkpoint that the job made."""

    id: str = Field(description="The checkpoint's id, `ckpt-…`.")
    digest: str = Field(
        description="The sha256 of the canonical JSON of `files`, which are the bytes of manifest.json in the archive."
    )
    bytes: int = Field(description="The size of all files in bytes.")
    output: Output = Field(description="What the checkpoint holds.")
    files: list[FileEntry] = Field(description="The files, in order of path.")
    released: bool = Field(description="Whether the checkpoint may be downloaded.")
    released_at: datetime | None = Field(description="When it was released.")
    released_by: ReportKey | None = Field(
        description="The key of the person who released it. Null: it is not released, or needed no person's decision."
    )
    created_at: datetime = Field(description="When the job finished.")


class ReportBound(JudgedBound):
    """One bound of the policy, its result, and both in words."""

    level: float | None = Field(
        default=None,
        description="The confidence level of the interval: 0.95, for the AUC of an attack a higher one, at which all"
        " judged attacks hold together in 95 % of cases. Null: there is no interval, or the report is of a version"
        " before 6.",
    )
    question: str = Field(description="What the bound asks, in a sentence.")
    answer: str = Field(description="What was found, in a sentence.")


class ReportPart(Answer):
    """The verdict on one part."""

    part: Part = Field(description="`extraction` or `membership`.")
    question: str = Field(description="What the part asks, in a sentence.")
    result: Verdict = Field(description="The result of the part.")
    reason: Reason | None = Field(description="Why the result is `not_judged`.")
    required: bool = Field(description="Whether the whole verdict is `passed` only if this part is.")


class ReportVerdict(Answer):
    """The verdict by the policy, bound by bound."""

    policy: Policy = Field(description="The policy, as it was when the job was submitted.")
    result: Verdict = Field(description="The verdict on all bounds together.")
    reason: Reason | None = Field(description="Why the verdict is `not_judged`.")
    reason_text: str | None = Field(description="The reason in words.")
    scope: Scope = Field(
        description="What the verdict covers. `verbatim`: the text itself. `facts`: questions about its content too."
    )
    parts: list[ReportPart] = Field(description="The verdict on each part, extraction first.")
    bounds: list[ReportBound] = Field(
        description="The result of each bound: first the bounds on extraction, then on membership, then on what the"
        " model must keep."
    )
    assumptions: list[str] = Field(
        description="What the verdict takes for granted, in sentences: of text that the service made where nobody named"
        " any."
    )
    warnings: list[str] = Field(
        description="What the model must keep that the verdict says nothing about, and which earlier jobs' text has"
        " come back or could not be measured again."
    )


class ReportPreviouslyForgotten(PreviouslyForgotten):
    """Whether the text of one earlier request is still forgotten, and this in words."""

    answer: str = Field(description="What was found, in sentences.")


class ReportFigures(Answer):
    """All figures of the job."""

    measure: list[str | MeasurementChoice] = Field(description="The measurements that the job was asked for.")
    before: Measurements | None = Field(description="The figures of the model that the job started from.")
    after: Measurements | None = Field(
        description="The figures of the checkpoint, which was saved and loaded again; of a measurement, its figures."
    )
    retrained: Measurements | None = Field(description="The figures of the retrained model, if the job names one.")


class ReportRelearning(Answer):
    """The relearning attack that brought most of the text back."""

    attack: RelearningAttackName = Field(description="The attack.")
    steps: int = Field(description="The number of its training steps after which most of the text was back.")
    figure: Figure = Field(description="The perplexity of the text to forget after these steps. Higher is better.")
    attacks: int = Field(description="The number of attacks that were made.")
    answer: str = Field(description="What was found, in sentences.")


class ReportAttempt(Answer):
    """One worker's try at the job."""

    number: int = Field(description="The number of the attempt, from 1.")
    started_at: datetime = Field(description="When a worker took up the job.")
    ended_at: datetime | None = Field(description="When the attempt ended.")
    end: AttemptEnd | None = Field(description="How the attempt ended. `requeued`: the job went back into the queue.")
    reason: str | None = Field(description="Why the attempt ended, by name. Null: it did its work.")
    environment: Environment | None = Field(
        description="The code, the libraries and the machine. Null: the attempt ran before the service recorded them."
    )


class ReportAction(Answer):
    """An entry of the audit log about the job, its checkpoint or a file with text to forget. Downloads are left out."""

    seq: int = Field(description="The entry's number in the organisation's audit log.")
    at: datetime = Field(description="When it happened.")
    by: ReportKey | None = Field(description="The key of the person or program that acted. Null: the service itself.")
    action: str = Field(description="The action's name, such as `checkpoint.released`.")
    object: str = Field(description="The id of what was acted on.")
    hash: str = Field(description="The entry's hash, by which the audit log can be checked.")


class ReportCheck(Answer):
    """A way to check a part of the report without trusting the service."""

    text: str = Field(description="What to do, and what it shows.")
    command: str | None = Field(description="The command that does it. Null: there is none.")


class Report(Answer):
    """The report of a job that has ended."""

    object: Literal["report"] = Field(default="report", description="Always `report`.")
    version: int = Field(default=VERSION, description="The version of this form.")
    service_version: str = Field(
        default="",
        description="The version of the service that wrote the report, and of the command that checks it. Empty before"
        " version 6.",
    )
    job: str = Field(description="The job's id.")
    kind: JobKind = Field(
        description="`unlearn`: the job changes the model. `preview`: a dry run. `measure`: it only measures."
    )
    status: Status = Field(description="How the job ended: `succeeded`, `failed` or `cancelled`.")
    outcome: Outcome | None = Field(description="The result of a job that has succeeded. Null for a measurement.")
    error: JobError | None = Field(description="Why the job failed.")
    summary: list[str] = Field(description="The result in a few sentences.")
    request: ReportRequest = Field(description="Who asked, and when.")
    deadline: ReportDeadline = Field(description="The deadline, and whether it was kept.")
    data: list[SetUsed] = Field(description="The data sets: digests and counts. The text to forget comes first.")
    purge: list[ReportPurge] = Field(description="The deletion of each file with text to forget.")
    model: ReportModel = Field(description="The model that the job started from, by its digests.")
    treatment: ReportTreatment | None = Field(
        description="How the job changed the model. Null: the job was not asked to change it."
    )
    environment: Environment | None = Field(
        description="The code, the libraries and the machine of the last attempt. Null: they were not recorded."
    )
    cost: JobCost | None = Field(description="What the job took. Null: it did not come to its end.")
    checkpoint: ReportCheckpoint | None = Field(description="The checkpoint. Null: the job made none.")
    verdict: ReportVerdict | None = Field(description="The verdict. Null: the job was not judged.")
    shared_run: list[str] = Field(
        description="The other jobs that the model was changed for in the same run. Empty: it was changed for this one."
    )
    previously_forgotten: list[ReportPreviouslyForgotten] = Field(
        description="Whether the text is still forgotten that earlier jobs made the model forget, newest first. Empty:"
        " the job started from no earlier job's model, or made none."
    )
    figures: ReportFigures = Field(description="The figures, each with its interval.")
    relearning: ReportRelearning | None = Field(description="The worst of the relearning attacks. Null: none was made.")
    attempts: list[ReportAttempt] = Field(description="Each worker's try at the job, in order of time.")
    actions: list[ReportAction] = Field(description="Who did what and when, by the audit log, in order of time.")
    warnings: list[JobWarning] = Field(description="What a person should know about the job.")
    not_proved: list[str] = Field(description="What this report does not prove.")
    checks: list[ReportCheck] = Field(description="How to check this report.")


def canonical_json(report: Report) -> bytes:
    """Returns the report as canonical JSON: sorted keys, no spaces, UTF-8, each number as Python writes it."""
    content: dict[str, Any] = report.model_dump(mode="json")
    return json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()
