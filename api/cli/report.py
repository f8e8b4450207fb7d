"""`unlearn report`: a job's report for people, on the terminal or as a file."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from api.cli.exit_codes import WRONG_CALL
from api.cli.job_actions import JobId
from api.cli.listing import size_text
from api.cli.session import Session, service_command
from api.client.reports import ReportFormat

SUFFIXES: dict[str, ReportFormat] = {".json": "json", ".html": "html", ".htm": "html", ".pdf": "pdf"}


@service_command
def report(
    session: Session,
    job: JobId,
    format: Annotated[
        ReportFormat | None, typer.Option(help="The form of the report; default: by the name of --out.")
    ] = None,
    out: Annotated[Path | None, typer.Option(dir_okay=False, help="Write the report to this file.")] = None,
) -> None:
    """Show the summary of a job's report, print the report in a form, or write it to a file."""
    if out is not None:
        chosen = format or SUFFIXES.get(out.suffix.lower())
        if chosen is None:
            session.fail(f"{out.name} has no ending that says the form: name one with --format", WRONG_CALL)
        session.client.reports.download(job, out, chosen)
        size = out.stat().st_size
        session.show({"file": str(out), "format": chosen, "bytes": size}, f"{out}: {size_text(size)}")
    elif format is None:
        document = session.client.reports.get(job)
        session.show(document, *document.summary, f"The whole report: unlearn report {job} --out {job}.pdf")
    elif session.as_json and format != "json":
        session.fail(f"a report as {format} is no JSON: leave out --json, or name a file with --out", WRONG_CALL)
    elif format == "pdf" and sys.stdout.isatty():
        session.fail("a PDF is nothing for a terminal: name a file with --out", WRONG_CALL)
    else:
        typer.echo(session.client.reports.content(job, format), nl=False)
