"""The audit log of an organisation: a filtered list, and the whole log as a file that can be checked offline."""

from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Query
from starlette.responses import Response, StreamingResponse

from api.dependencies import Context, ContextDep, EvidenceRead
from api.http.openapi import BINARY
from api.http.pagination import DEFAULT_LIMIT, Limit, paginate
from api.http.problems import problem_responses
from core.records import audit
from core.schema.audit import AuditLine, AuditPage
from core.schema.timestamps import UtcDatetime

router = APIRouter(prefix="/v1/audit", tags=["audit"])

MAX_SEQ = 2**63 - 1
BATCH = 500
MEDIA_TYPE = "application/jsonl"
EXPORT: dict[int | str, dict[str, Any]] = {
    200: {"description": "The log as JSON Lines", "content": {MEDIA_TYPE: BINARY}},
}


@router.get("", summary="List the audit log", responses=problem_responses())
async def list_audit(
    context: ContextDep,
    caller: EvidenceRead,
    limit: Limit = DEFAULT_LIMIT,
    after: Annotated[int | None, Query(ge=1, le=MAX_SEQ, description="the `last_id` of the previous page")] = None,
    key: Annotated[str | None, Query(max_length=64, description="only actions with this API key")] = None,
    action: Annotated[str | None, Query(max_length=64, description="only actions of this name")] = None,
    object: Annotated[
        str | None, Query(max_length=128, description="only actions on this object: a job's id, a model's, …")
    ] = None,
    created_after: Annotated[UtcDatetime | None, Query(description="only entries of this time or later")] = None,
    created_before: Annotated[UtcDatetime | None, Query(description="only entries before this time")] = None,
) -> AuditPage:
    """Lists the entries of the caller's organisation, newest first.

    Each entry holds the hash of the entry before, so that a change of any entry shows in all later hashes. `head` is
    the newest entry of the whole log: who keeps its hash can later check that nothing up to it was changed.
    Scope: `evidence:read`.
    """
    async with context.sessions() as session:
        head = await audit.head(session, caller.organisation)
        rows = await audit.page(
            session,
            caller.organisation,
            limit=limit + 1,
            before=after,
            key=key,
            action=action,
            object=object,
            created_after=created_after,
            created_before=created_before,
        )
    page = paginate(rows, limit, audit.serialize, item_id=lambda entry: str(entry.seq))
    return AuditPage(**dict(page), head=head)


@router.get(
    "/export", summary="Export the audit log", response_class=Response, responses={**problem_responses(), **EXPORT}
)
async def export_audit(
    context: ContextDep,
    caller: EvidenceRead,
    after: Annotated[int, Query(ge=0, le=MAX_SEQ, description="only entries with a higher number than this")] = 0,
) -> Response:
    """Returns the whole log as JSON Lines, oldest entry first: each line is `{"entry": …}`.

    `unlearn verify audit.jsonl` checks the file without the service. Scope: `evidence:read`.
    """
    async with context.sessions() as session:
        head = await audit.head(session, caller.organisation)
    headers = {"Content-Disposition": 'attachment; filename="audit.jsonl"'}
    lines = _lines(context, caller.organisation, after=after, up_to=head.seq)
    return StreamingResponse(lines, headers=headers, media_type=MEDIA_TYPE)


async def _lines(context: Context, organisation: str, *, after: int, up_to: int) -> AsyncIterator[str]:
    """Yields the entries in batches, each read in a transaction of its own: entries never change."""
    while after < up_to:
        async with context.sessions() as session:
            rows = await audit.following(session, organisation, after=after, up_to=up_to, limit=BATCH)
        if not rows:
            return
        yield "".join(AuditLine(entry=audit.serialize(row)).model_dump_json() + "\n" for row in rows)
        after = rows[-1].seq
