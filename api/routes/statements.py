"""Signed evidence about a job: the statement, the model's signature, and the bill of materials."""

import math
from typing import Any

from fastapi import APIRouter
from starlette.responses import JSONResponse, Response

from api.auth import Caller
from api.dependencies import Context, ContextDep, ReportRead
from api.http.openapi import BINARY
from api.http.problems import Problem, not_found, problem_responses
from core.evidence.bill_of_materials import SPEC_VERSION, make_bill_of_materials
from core.evidence.model_signature import BUNDLE_TYPE, SIGNATURE_NAME
from core.evidence.statement import NoCheckpoint
from core.records import clock, jobs, statements
from core.records.tables import StatementRow
from core.report.assembly import assemble
from core.schema.envelopes import Envelope
from core.schema.statements import statement_schema

router = APIRouter(tags=["evidence"])

RETRY_SECONDS = 2
BUNDLE, BILL, SCHEMA = BUNDLE_TYPE, "application/vnd.cyclonedx+json", "application/schema+json"
"""Media types of documents whose form other specifications define."""


def _document_response(description: str, media_type: str) -> dict[int | str, dict[str, Any]]:
    # client generators understand the first media type; the answer has the other
    return {200: {"description": description, "content": {"application/octet-stream": BINARY, media_type: BINARY}}}


@router.get(
    "/v1/jobs/{job}/statement",
    response_model=Envelope,
    summary="Get the signed statement about a job",
    responses=problem_responses(404, 409),
)
async def get_job_statement(job: str, context: ContextDep, caller: ReportRead) -> Response:
    """Returns a DSSE envelope around an in-toto statement: its subjects are the checkpoint's files, its predicate is
    the whole report as data.

    The schema of the statement is at `/.well-known/statement.schema.json`. The signer makes a new statement when the
    job succeeds, when its checkpoint is released, and when the text to forget is deleted; the newest is returned. 409
    `not-signed-yet` until it has signed, `statement-failed` where it failed and tries again after the time in
    `Retry-After`, up to an hour, `no-checkpoint` where the job made none. `unlearn verify` checks the statement without
    the service. Scope: `evidence:read`, `jobs:read` or `jobs:write`.
    """
    row = await _newest_statement(context, caller, job)
    return _download(row.envelope, f"{job}.statement.json")


@router.get(
    "/v1/jobs/{job}/model-signature",
    summary="Get the signature of a job's checkpoint",
    response_class=Response,
    responses={**problem_responses(404, 409), **_document_response("A Sigstore bundle", BUNDLE)},
)
async def get_model_signature(job: str, context: ContextDep, caller: ReportRead) -> Response:
    """Returns the signature of the checkpoint's files in the format of OpenSSF model-signing.

    Save it as `model.sig` and check it with that project's own verifier:
    `model_signing verify key CHECKPOINT --signature model.sig --public-key key.pem`. The public key is the one with the
    purpose `model` at `/.well-known/jwks.json`. 409 as for the statement.
    Scope: `evidence:read`, `jobs:read` or `jobs:write`.
    """
    row = await _newest_statement(context, caller, job)
    return _download(row.model_signature, SIGNATURE_NAME, BUNDLE)


@router.get(
    "/v1/jobs/{job}/bill-of-materials",
    summary="Get the bill of materials of a job's checkpoint",
    response_class=Response,
    responses={**problem_responses(404, 409), **_document_response("A CycloneDX document", BILL)},
)
async def get_bill_of_materials(job: str, context: ContextDep, caller: ReportRead) -> Response:
    """Returns a CycloneDX 1.6 ML-BOM: the files with their digests, the model before, the libraries, and a model card
    with the figures. It is not signed; the statement holds the same facts and is.

    409 where the job made no checkpoint. Scope: `evidence:read`, `jobs:read` or `jobs:write`.
    """
    async with context.sessions() as session:
        report = await assemble(session, caller.organisation, job)
    if report is None:
        raise not_found("job")
    try:
        content = make_bill_of_materials(report)
    except NoCheckpoint:
        raise _no_checkpoint() from None
    return _download(content, f"{job}.cdx.json", f"{BILL}; version={SPEC_VERSION}")


@router.get(
    "/.well-known/statement.schema.json",
    summary="Get the schema of statements",
    response_class=Response,
    responses=_document_response("A JSON schema", SCHEMA),
)
async def get_statement_schema() -> Response:
    """Returns the JSON schema of the statement in a DSSE envelope's payload, for everybody."""
    return JSONResponse(statement_schema(), media_type=SCHEMA)


async def _newest_statement(context: Context, caller: Caller, job: str) -> StatementRow:
    async with context.sessions() as session:
        row = await jobs.get(session, caller.organisation, job)
        if row is None:
            raise not_found("job")
        statement = await statements.newest(session, job)
        failed = await statements.next_try(session, job) if statement is None else None
        now = await clock.now(session)
    if statement is not None:
        return statement
    if row.checkpoint is None:
        raise _no_checkpoint()
    if failed is not None:
        detail = (
            f"the statement could not be made (tries: {failed.tries}); the signer's log says why, and it tries again"
        )
        seconds = max(RETRY_SECONDS, math.ceil((failed.at - now).total_seconds()))
        raise Problem(409, "statement-failed", detail, headers={"Retry-After": str(seconds)})
    detail = "the signer has not signed it yet: try again in a moment; if that lasts, the signer does not run"
    raise Problem(409, "not-signed-yet", detail, headers={"Retry-After": str(RETRY_SECONDS)})


def _no_checkpoint() -> Problem:
    return Problem(409, "no-checkpoint", "the job has made no checkpoint: there are no files to state anything about")


def _download(content: dict[str, Any], name: str, media_type: str = "application/json") -> Response:
    return JSONResponse(
        content, headers={"Content-Disposition": f'attachment; filename="{name}"'}, media_type=media_type
    )
