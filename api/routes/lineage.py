"""The lineage of a model: its checkpoints, each with the checkpoint that it came from."""

from typing import Annotated

from fastapi import APIRouter, Query

from api.dependencies import ContextDep, JobsRead
from api.http.pagination import DEFAULT_LIMIT, After, Limit, paginate
from api.http.problems import not_found, problem_responses, unprocessable
from core.records import lineage, models
from core.schema.lineage import LineageEntry
from core.schema.pages import Page

router = APIRouter(prefix="/v1/models", tags=["models"])


@router.get("/{model}/lineage", summary="List a model's lineage", responses=problem_responses(404))
async def list_lineage(
    model: str,
    context: ContextDep,
    caller: JobsRead,
    limit: Limit = DEFAULT_LIMIT,
    after: After = None,
    descends_from: Annotated[
        str | None,
        Query(max_length=64, description="only checkpoints that came from this checkpoint, over any number of jobs"),
    ] = None,
) -> Page[LineageEntry]:
    """Lists the checkpoints that jobs made of the model, newest first, released or not, each with its parent.

    `in_head` tells which of them the model's head came from. 422 where the model has no checkpoint `descends_from`.
    Scope: `jobs:read` or `jobs:write`.
    """
    async with context.sessions() as session:
        row = await models.get(session, caller.organisation, model)
        if row is None:
            raise not_found("model")
        if descends_from is not None and not await lineage.find(session, row, descends_from):
            raise unprocessable("descends_from", "the model has no such checkpoint", name="unknown-checkpoint")
        entries = await lineage.page(session, row, limit=limit + 1, after=after, descends_from=descends_from)
        in_head = await lineage.ancestors_of_head(session, row)

    def serialize(entry: lineage.Entry) -> LineageEntry:
        checkpoint, parent, reference = entry
        columns = ("job", "method", "digest", "verdict", "released", "created_at")
        return LineageEntry.model_validate(
            {
                **{name: getattr(checkpoint, name) for name in columns},
                "checkpoint": checkpoint.id,
                "parent": parent,
                "external_reference": reference,
                "in_head": checkpoint.id in in_head,
            }
        )

    return paginate(entries, limit, serialize, item_id=lambda entry: entry.checkpoint)
