"""The document of a report: its sections in the order in which they are read."""

from datetime import UTC

from api.reports.blocks import Document
from api.reports.sections import annex, course, findings, origin, overview
from core.report.days import day_text
from core.schema.report import Report

_TITLES = {
    "unlearn": "Report on the forgetting of text by a language model",
    "preview": "Report on what a language model knows of a text",
    "measure": "Report on the measurement of a language model",
}


def make_document(report: Report) -> Document:
    """Returns the report as a document. It holds no other content than the report."""
    ended = report.deadline.ended_at.astimezone(UTC).date()
    reference = f"{report.request.external_reference} · " if report.request.external_reference else ""
    sections = [
        overview.overview(report),
        *findings.findings(report),
        annex.not_proved(report),
        origin.data(report),
        origin.making(report),
        course.course(report),
        annex.checks(report),
        annex.figures(report),
        annex.settings(report),
        annex.files(report),
    ]
    return Document(
        title=_TITLES[report.kind],
        subtitle=f"{reference}model “{report.model.id}” · {report.request.organisation} · {day_text(ended)}",
        footer=_footer(report),
        date=(ended.year, ended.month, ended.day),
        sections=[section for section in sections if section is not None],
    )


def _footer(report: Report) -> str:
    service = f", written by version {report.service_version} of the service" if report.service_version else ""
    return f"{report.job}, report version {report.version}{service}"
