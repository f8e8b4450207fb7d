"""Reports of jobs, for people and for programs."""

from pathlib import Path
from typing import Literal

from api.client.answers import ask, save
from api.client.call import get, url_path
from api.client.resource import Resource, Transport, operation
from api.client.steps import Steps, send
from core.schema.report import Report

ReportFormat = Literal["json", "html", "pdf"]


class Reports(Resource[Transport]):
    """`client.reports`: what was asked, done and measured, and what that does not prove."""

    @operation
    def get(self, job: str) -> Steps[Report]:
        """Returns the report of a job that is over. Raises Conflict before."""
        return ask(get(url_path("jobs", job, "report"), format="json"), Report)

    @operation
    def content(self, job: str, format: ReportFormat) -> Steps[bytes]:
        """Returns the report in this form, byte by byte as the service writes it. Raises Conflict before the end."""
        return (yield from send(get(url_path("jobs", job, "report"), format=format))).content

    @operation
    def download(self, job: str, file: str | Path, format: ReportFormat) -> Steps[Path]:
        """Writes the report in this form to the file, whole or not at all. Raises Conflict before the job's end."""
        return save(get(url_path("jobs", job, "report"), format=format), Path(file))
