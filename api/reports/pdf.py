"""A report as PDF/A, the form for archives, set by Typst.

Typst comes as one wheel with its own fonts, so that the PDF needs no library and no font of the system and looks the
same everywhere. The PDF of a report is the same bytes each time.
"""

import json
from dataclasses import asdict
from typing import Literal

import typst

from api.reports.document import make_document
from api.reports.html import TEMPLATES
from core.schema.report import Report

STANDARD: Literal["a-2a"] = "a-2a"
"""PDF/A-2 of level A (ISO 19005-2): for archives, and readable by screen readers."""


def write_pdf(report: Report) -> bytes:
    """Returns the report as PDF, from the same document as the HTML."""
    document = json.dumps(asdict(make_document(report)), ensure_ascii=False)
    template = (TEMPLATES / "report.typ").read_bytes()
    return typst.compile(
        template, sys_inputs={"document": document}, ignore_system_fonts=True, pdf_standards=[STANDARD]
    )
