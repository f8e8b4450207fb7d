"""The audit log of an organisation: a filtered list, and the whole log as a file that can be checked offline."""

from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Query
from starlette.responses import Response, StreamingResponse

from api.dependencies import Context, ContextDep, EvidenceRead
from api.http.openapi import BINARY
from api.http.pagination import DEFAULT_LIMIT, Limit, paginate
from api.http.problems import problem_responses
from core.records import audit, signing
from core.schema.audit import AuditLine, AuditPage
from core.schema.envelopes import Envelope
from core.schema.timestamps import UtcDatetime

router = APIRouter(prefix="/v1/audit", tags=["audit"])

MAX_SEQ = 2**63 - 1
BATCH = 500
MEDIA_TYPE = "application/jsonl"
EXPORT: dict[int | str, dict[str, Any]] = {
    # client generators understand the first media type; the answer has the other
    200: {
        "description": "The log as JSON Lines",
        "content": {media_type: BINARY for media_type in ("application/octet-stream", MEDIA_TYPE)},
    },
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
    `signed_head` is the newest head that the signer has signed. Scope: `evidence:read`.
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
        signed = await signing.newest_signed_head(session, caller.organisation)
    page = paginate(rows, limit, audit.serialize, item_id=lambda entry: str(entry.seq))
    signed_head = None if signed is None else Envelope.model_validate(signed.envelope)
    return AuditPage(**dict(page), head=head, signed_head=signed_head)


@router.get(
    "/export", summary="Export the audit log", response_class=Response, responses={**problem_responses(), **EXPORT}
)
async def export_audit(
    context: ContextDep,
    caller: EvidenceRead,
    after: Annotated[int, Query(ge=0, le=MAX_SEQ, description="only entries with a higher number than this")] = 0,
) -> Response:
    """Returns the whole log as JSON Lines, oldest entry first.

    Each line is `{"entry": …}`, or `{"signed_head": …}` after the entry that was the newest when the head was signed.

    `unlearn verify audit.jsonl --keys jwks.json` checks the file without the service. Scope: `evidence:read`.
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
            heads = await signing.signed_heads(session, organisation, after=after, up_to=rows[-1].seq)
        for row in rows:
            lines = [AuditLine(entry=audit.serialize(row))]
            lines += [
                AuditLine(signed_head=Envelope.model_validate(head.envelope)) for head in heads if head.seq == row.seq
            ]
            yield "".join(line.model_dump_json(exclude_unset=True) + "\n" for line in lines)
        after = rows[-1].seq
