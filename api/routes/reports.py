"""The report of a job: what was asked, done and measured, for people to file and for programs to read."""

import asyncio
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Header, Query
from starlette.responses import Response

from api.dependencies import ContextDep, ReportRead
from api.http.media_types import preferred
from api.http.openapi import BINARY
from api.http.problems import Problem, not_found, problem_responses
from api.reports.html import security_policy, write_html
from api.reports.pdf import write_pdf
from core.report.assembly import assemble
from core.schema.report import Report, canonical_json

router = APIRouter(prefix="/v1/jobs/{job}", tags=["evidence"])

Format = Literal["json", "html", "pdf"]
MEDIA_TYPES: dict[Format, str] = {"json": "application/json", "html": "text/html", "pdf": "application/pdf"}
RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {
        "model": Report,
        "description": "The report",
        # client generators read the first media type, so JSON comes first; FastAPI adds its schema
        "content": {
            MEDIA_TYPES["json"]: {},
            MEDIA_TYPES["html"]: {"schema": {"type": "string"}},
            MEDIA_TYPES["pdf"]: BINARY,
        },
    }
}


@router.get(
    "/report",
    response_class=Response,
    summary="Get a job's report",
    responses={**problem_responses(404, 406, 409), **RESPONSES},
)
async def get_job_report(
    job: str,
    context: ContextDep,
    caller: ReportRead,
    format: Annotated[Format | None, Query(description="the form of the report; default: by `Accept`")] = None,
    accept: Annotated[str, Header(description="the form of the report, where `format` names none")] = "",
) -> Response:
    """Reports what was asked, what was done, what was measured, and what that does not prove: as JSON, as one HTML file
    that needs no network and prints, or as PDF/A. All three have the same content.

    The JSON is canonical: the same bytes each time until something is decided about the job. 409 where the job has not
    ended. Scope: `evidence:read`, `jobs:read` or `jobs:write`.
    """
    chosen = format or _accepted(accept)
    async with context.sessions() as session:
        report = await assemble(session, caller.organisation, job)
    if report is None:
        raise not_found("job")
    # pictures and pages take a moment, in which other requests go on
    content = await asyncio.to_thread({"json": canonical_json, "html": write_html, "pdf": write_pdf}[chosen], report)
    headers = {
        "Cache-Control": "no-cache",
        "Content-Disposition": f'inline; filename="report-{job}.{chosen}"',
        "Vary": "Accept",
        "X-Content-Type-Options": "nosniff",
    }
    if chosen == "html":
        headers |= {"Content-Security-Policy": security_policy(), "Referrer-Policy": "no-referrer"}
    return Response(content, media_type=MEDIA_TYPES[chosen], headers=headers)


def _accepted(accept: str) -> Format:
    chosen = preferred(accept, list(MEDIA_TYPES.values()))
    for name, media_type in MEDIA_TYPES.items():
        if media_type == chosen:
            return name
    raise Problem(406, "not-acceptable", f"a report comes as {', '.join(MEDIA_TYPES.values())}")
