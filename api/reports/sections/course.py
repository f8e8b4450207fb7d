"""Who did what and when: attempts, the audit log, and warnings."""

from api.reports.blocks import Block, Bullets, Cell, Code, Paragraph, Section, Table
from api.reports.words import NONE, key_text, time_text
from core.report.warning_words import warning_words
from core.schema.report import Report, ReportAttempt

_ENDS = {
    "succeeded": "did its work",
    "failed": "failed",
    "cancelled": "was cancelled",
    "paused": "was paused",
    "requeued": "ended early; the job went back into the queue",
    None: "did not end",
}
_REASONS = {
    "asked": "somebody asked for it",
    "shutdown": "the worker was shut down",
    "terminated": "the worker's host ended the process",
    "lease_expired": "the worker was lost",
    "shared_run_changed": "another job left the run that this job shared",
    "shared_run_failed": "the run that this job shared with others failed, so that it ran by itself next",
}
_AUDIT = (
    "The organisation's audit log holds these entries about the job, its new model and the files with text to forget."
    " An entry holds a hash of the entry before it, so that a change shows to whoever has kept a later"
    " hash."
)


def course(report: Report) -> Section:
    """Returns the attempts at the job, the entries of the audit log, and the warnings."""
    blocks: list[Block] = []
    if report.attempts:
        rows = [
            [str(attempt.number), time_text(attempt.started_at), time_text(attempt.ended_at), _end_text(attempt)]
            for attempt in report.attempts
        ]
        blocks.append(Table("Attempts", ["No.", "Began", "Ended", "How it ended"], rows))
    else:
        blocks.append(Paragraph("No worker ever began the job."))
    if report.actions:
        blocks.append(Paragraph(_AUDIT))
        entries: list[list[Cell]] = [
            [
                str(action.seq),
                time_text(action.at),
                key_text(action.by),
                action.action.replace(".", " "),
                Code(action.object),
                Code(action.hash[:16]),
            ]
            for action in report.actions
        ]
        columns = ["No.", "When", "Who", "What", "Of what", "Hash (begins with)"]
        blocks.append(Table("Entries of the audit log", columns, entries))
    if report.warnings:
        blocks.append(Paragraph("The service gave these warnings:"))
        blocks.append(Bullets([warning_words(warning.code, warning.message) for warning in report.warnings]))
    return Section("Who did what and when", blocks)


def _end_text(attempt: ReportAttempt) -> str:
    reason = NONE if attempt.reason is None else _REASONS.get(attempt.reason, attempt.reason.replace("_", " "))
    return _ENDS[attempt.end] if attempt.reason is None else f"{_ENDS[attempt.end]}: {reason}"
