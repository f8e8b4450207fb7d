"""The first section: the result, who asked for it, and whether it was in time."""

from api.reports.blocks import Badge, Block, Bullets, Cell, Code, Facts, Paragraph, Section, Table
from api.reports.words import NONE, key_text, result_badge, time_text
from core.report.days import day_text
from core.schema.report import Report

_NO_PROOF = (
    "No measurement proves that a text is erased. The section “What this report does not prove” says how far these"
    " results reach."
)
_CLOCK = "By the service's own clock."


def overview(report: Report) -> Section:
    """Returns the result in sentences, and the facts of the request."""
    blocks: list[Block] = [Bullets(report.summary), Facts(_facts(report))]
    if report.deadline.extensions:
        rows = [
            [
                day_text(extension.previous_due),
                day_text(extension.due),
                extension.reason,
                f"{key_text(extension.extended_by)}, {time_text(extension.extended_at)}",
            ]
            for extension in report.deadline.extensions
        ]
        blocks.append(Table("Extensions of the deadline", ["Last day before", "Last day after", "Reason", "By"], rows))
    if report.kind == "unlearn" and report.status == "succeeded":
        blocks.append(Paragraph(_NO_PROOF))
    return Section("The result in short", blocks)


def _facts(report: Report) -> list[tuple[str, Cell]]:
    request, deadline = report.request, report.deadline
    facts: list[tuple[str, Cell]] = []
    if report.verdict is not None:
        facts.append(("Verdict", result_badge(report.verdict.result)))
    facts += [
        ("Organisation", request.organisation),
        ("Reference", request.external_reference or NONE),
        ("Asked by", _told(key_text(request.submitter), request.requester_text)),
        ("Received", _told(time_text(deadline.received_at), deadline.received_text)),
        ("Given to the service", _told(time_text(request.submitted_at), _CLOCK)),
        ("Ended", _told(time_text(deadline.ended_at), _CLOCK)),
        ("To be done by", _told("no deadline" if deadline.due is None else day_text(deadline.due), deadline.due_text)),
    ]
    if deadline.kept is not None:
        kept = Badge("yes", "good", deadline.kept_text) if deadline.kept else Badge("no", "bad", deadline.kept_text)
        facts.append(("Job ended by the due date", kept))
    elif deadline.due is not None and deadline.kept_text:
        facts.append(("Job ended by the due date", deadline.kept_text))
    facts.append(("Job", Code(report.job)))
    if report.checkpoint is not None:
        facts.append(("New model", Code(report.checkpoint.id)))
    return facts


def _told(value: str, origin: str) -> str:
    return f"{value}. {origin}" if origin else value
