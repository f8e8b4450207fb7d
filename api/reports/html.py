"""A report as one HTML file, which needs no network and no script, and which prints."""

import base64
import hashlib
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup

from api.reports.document import make_document
from core.schema.report import Report

TEMPLATES = Path(__file__).parent / "templates"


def write_html(report: Report) -> bytes:
    """Returns the report as HTML. All text is escaped; only pictures are inserted as they are."""
    return _template().render(document=make_document(report), style=Markup(_style())).encode()  # noqa: S704


def security_policy() -> str:
    """Returns the content security policy of the page: nothing is loaded, and only its own style sheet applies."""
    digest = base64.b64encode(hashlib.sha256(_style().encode()).digest()).decode()
    return (
        f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


@cache
def _template() -> Template:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.filters["svg"] = Markup  # drawn by api.reports.charts, which escapes its labels
    return environment.get_template("report.html.j2")


@cache
def _style() -> str:
    return (TEMPLATES / "report.css").read_text()
