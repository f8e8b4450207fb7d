"""The assembly of a report from its rows. The same rows always give the same report: it reads no clock."""

from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from core.records import report_rows
from core.records.report_rows import ReportRows
from core.report.assumptions import list_assumptions
from core.report.attempts import read_attempts
from core.report.bounds import describe_bounds
from core.report.caveats import list_caveats, list_checks
from core.report.deadline import due_words, kept_words, receipt_words
from core.report.glossary import PARTS, REASONS
from core.report.levels import attack_levels
from core.report.previously_forgotten import describe_previously_forgotten
from core.report.relearning import find_worst
from core.report.requester import requester_words
from core.report.summary import summarize
from core.schema.cost import JobCost
from core.schema.deadlines import DeadlineExtension
from core.schema.errors import DomainError, Identifier
from core.schema.event_types import EventType
from core.schema.jobs import TERMINAL, SetUsed
from core.schema.manifest import FileEntry
from core.schema.policies import Judgement, Policy
from core.schema.report import (
    Report,
    ReportAction,
    ReportCheckpoint,
    ReportDeadline,
    ReportExtension,
    ReportFigures,
    ReportKey,
    ReportMethod,
    ReportModel,
    ReportPart,
    ReportPurge,
    ReportRequest,
    ReportTreatment,
    ReportVerdict,
)
from core.unlearning.objectives import METHODS

HUB = "hf:"
DELETED = ("file.deleted", "file.purged")
"""Actions of the audit log that delete a file."""


class NotEnded(DomainError):
    """The job has not ended: there is nothing to report yet."""

    status, problem = 409, "not-ended"

    def __init__(self, status: Identifier) -> None:
        self.detail = f"the job is {status}: its report is made when it has succeeded, failed or been cancelled"
        super().__init__()


async def assemble(session: AsyncSession, organisation: str, job: str) -> Report | None:
    """Makes the report of a job that has ended. None: there is no such job. NotEnded."""
    rows = await report_rows.read(session, organisation, job)
    if rows is None:
        return None
    if rows.job.status not in TERMINAL or rows.job.finished_at is None:
        raise NotEnded(rows.job.status)
    return _report(rows, ended_at=rows.job.finished_at)


def _report(rows: ReportRows, *, ended_at: datetime) -> Report:
    job = rows.job
    measured = {row.moment: row.measurements for row in rows.measurements}
    attempts = read_attempts(rows.events)
    figures = ReportFigures.model_validate(
        {"measure": job.measure, **{moment: measured.get(moment) for moment in ("before", "after", "retrained")}}
    )
    report = Report.model_validate(
        {
            "service_version": version("unlearning-service"),
            "job": job.id,
            "kind": job.kind,
            "status": job.status,
            "outcome": job.outcome,
            "error": job.error,
            "summary": [],
            "request": ReportRequest(
                organisation=rows.organisation.name,
                submitter=_key(rows, job.submitter),
                external_reference=job.external_reference,
                submitted_at=job.created_at,
                requester_text=requester_words(job.external_reference),
            ),
            "deadline": _deadline(rows, ended_at),
            "data": _data(rows),
            "purge": _purge(rows),
            "model": _model(rows, measured),
            "treatment": _treatment(rows),
            "environment": attempts[-1].environment if attempts else None,
            "cost": _cost(rows),
            "checkpoint": _checkpoint(rows),
            "verdict": _verdict(rows, figures),
            "shared_run": [other.id for other in rows.shared_run],
            "previously_forgotten": describe_previously_forgotten(measured.get("after")),
            "figures": figures,
            "relearning": None,
            "attempts": attempts,
            "actions": _actions(rows),
            "warnings": job.warnings,
            "not_proved": [],
            "checks": [],
        }
    )
    report = report.model_copy(update={"relearning": find_worst(report)})
    return report.model_copy(
        update={"summary": summarize(report), "not_proved": list_caveats(report), "checks": list_checks(report)}
    )


def _key(rows: ReportRows, id: str) -> ReportKey:
    return ReportKey(id=id, name=rows.keys[id].name if id in rows.keys else "")


def _deadline(rows: ReportRows, ended_at: datetime) -> ReportDeadline:
    job = rows.job
    in_time = None if job.due is None else ended_at.astimezone(UTC).date() <= job.due
    extensions = [DeadlineExtension.model_validate(extension) for extension in job.extensions]
    dues = [*(extension.previous_due for extension in extensions), *([] if job.due is None else [job.due])]
    return ReportDeadline(
        received_at=job.received_at,
        received_text=receipt_words(job.received_at, job.created_at),
        due=job.due,
        due_text=due_words(job.received_at, dues),
        extensions=[
            ReportExtension(**{**dict(extension), "extended_by": _key(rows, extension.extended_by)})
            for extension in extensions
        ],
        ended_at=ended_at,
        kept=in_time if job.status == "succeeded" else None,
        kept_text=kept_words(
            job.due, ended_at, succeeded=job.status == "succeeded", new_model=job.checkpoint is not None
        ),
    )


def _data(rows: ReportRows) -> list[SetUsed]:
    sets = [SetUsed.model_validate(used) for used in rows.job.data]
    return sorted(sets, key=lambda used: used.name != "forget")


def _purge(rows: ReportRows) -> list[ReportPurge]:
    deletions = {entry.object: entry.at for entry in rows.audit if entry.action in DELETED}
    return [
        ReportPurge(
            file=id,
            deleted=file is None,
            deleted_at=deletions.get(id),
            expires_at=None if file is None else file.expires_at,
        )
        for id, file in rows.forget_files.items()
    ]


def _model(rows: ReportRows, measured: dict[str, dict[str, Any]]) -> ReportModel:
    job, model = rows.job, rows.model
    first = measured.get("before") or (measured.get("after") if job.kind == "measure" else None)
    return ReportModel(
        id=job.model,
        repository=model.source if model is not None and model.source.startswith(HUB) else None,
        revision=None if model is None else model.revision,
        registered_digest=None if model is None else model.digest,
        start=job.start,
        start_checkpoint=job.start_checkpoint,
        start_digest=None if first is None else first["model_digest"],
        retrained_model=job.retrained_model,
        retrained_digest=measured["retrained"]["model_digest"] if "retrained" in measured else None,
    )


def _treatment(rows: ReportRows) -> ReportTreatment | None:
    job = rows.job
    if job.kind != "unlearn":
        return None
    known = METHODS.get(job.method)
    return ReportTreatment.model_validate(
        {
            "method": ReportMethod(
                name=job.method,
                parameters=job.parameters,
                summary=None if known is None else known.summary,
                paper=None if known is None else known.paper.title,
                paper_url=None if known is None else known.paper.url,
            ),
            "training": job.training,
            "steps": job.step if rows.checkpoint is None else rows.checkpoint.step,
        }
    )


def _cost(rows: ReportRows) -> JobCost | None:
    costs = [event.data for event in rows.events if event.type == EventType.COST]
    return JobCost.model_validate(costs[-1]) if costs else None


def _checkpoint(rows: ReportRows) -> ReportCheckpoint | None:
    made = rows.checkpoint
    if made is None:
        return None
    return ReportCheckpoint.model_validate(
        {
            "id": made.id,
            "digest": made.digest,
            "bytes": made.size,
            "output": rows.job.output,
            "files": [FileEntry(path=file.path, bytes=file.size, sha256=file.sha256) for file in rows.checkpoint_files],
            "released": made.released,
            "released_at": made.released_at,
            "released_by": None if made.released_by is None else _key(rows, made.released_by),
            "created_at": made.created_at,
        }
    )


def _verdict(rows: ReportRows, figures: ReportFigures) -> ReportVerdict | None:
    if rows.job.judgement is None or rows.job.policy is None:
        return None
    judgement = Judgement.model_validate(rows.job.judgement)
    return ReportVerdict(
        policy=Policy.model_validate(rows.job.policy),
        result=judgement.verdict,
        reason=judgement.reason,
        reason_text=None if judgement.reason is None else REASONS[judgement.reason],
        scope=judgement.scope,
        parts=[
            ReportPart(
                part=part,
                question=question,
                result=judged.result,
                reason=judged.reason,
                required=judged.required,
            )
            for part, question in PARTS.items()
            if (judged := judgement.parts.get(part)) is not None
        ],
        bounds=describe_bounds(
            judgement.bounds, retrained=figures.retrained is not None, levels=attack_levels(figures)
        ),
        assumptions=list_assumptions(_data(rows)),
        warnings=judgement.warnings,
    )


def _actions(rows: ReportRows) -> list[ReportAction]:
    return [
        ReportAction(
            seq=entry.seq,
            at=entry.at,
            by=None if entry.key is None else _key(rows, entry.key),
            action=entry.action,
            object=entry.object,
            hash=entry.hash,
        )
        for entry in rows.audit
    ]
