"""Webhook deliveries: list, describe, deliver again."""

from typing import Annotated

from fastapi import APIRouter, Query

from api.dependencies import ContextDep, JobsRead, JobsWrite
from api.http.pagination import DEFAULT_LIMIT, After, Limit, paginate
from api.http.problems import not_found, problem_responses
from core.records import webhooks
from core.records.tables import WebhookDeliveryRow
from core.schema.pages import Page
from core.schema.webhooks import DeliveryStatus, WebhookDelivery, WebhookMessage

router = APIRouter(prefix="/v1/webhooks/deliveries", tags=["webhooks"])
messages = APIRouter(tags=["webhooks"])
"""What the service sends, for the OpenAPI document."""


@messages.post(
    "job-ended",
    summary="A job has ended",
    status_code=204,
    responses={"default": {"description": "Any other answer: the message is sent again later"}},
)
def job_ended(body: WebhookMessage) -> None:
    """The service sends this to the URL of the job's `webhook`, with the headers `webhook-id`, `webhook-timestamp` and
    `webhook-signature` of Standard Webhooks. Any 2xx answer within 15 seconds takes the message."""


@router.get("", summary="List webhook deliveries", responses=problem_responses())
async def list_deliveries(
    context: ContextDep,
    caller: JobsRead,
    limit: Limit = DEFAULT_LIMIT,
    after: After = None,
    job: Annotated[str | None, Query(max_length=64, description="only deliveries of this job")] = None,
    status: Annotated[DeliveryStatus | None, Query(description="only deliveries of this status")] = None,
) -> Page[WebhookDelivery]:
    """Lists the messages that were sent, or will be, when jobs with a `webhook` ended; newest first.

    A message that is not delivered is tried nine times within 32 hours. Scope: `jobs:read` or `jobs:write`.
    """
    async with context.sessions() as session:
        rows = await webhooks.page(session, caller.organisation, limit=limit + 1, after=after, job=job, status=status)
    return paginate(rows, limit, _serialize, item_id=lambda delivery: delivery.id)


@router.get("/{delivery}", summary="Get a webhook delivery", responses=problem_responses(404))
async def get_delivery(delivery: str, context: ContextDep, caller: JobsRead) -> WebhookDelivery:
    """Describes the delivery and its attempts. Scope: `jobs:read` or `jobs:write`."""
    async with context.sessions() as session:
        return _serialize_found(await webhooks.get(session, caller.organisation, delivery))


@router.post(
    "/{delivery}/redeliver",
    status_code=202,
    summary="Deliver a webhook message again",
    responses=problem_responses(404),
)
async def redeliver(delivery: str, context: ContextDep, caller: JobsWrite) -> WebhookDelivery:
    """Has the message sent again at once, whether it was delivered or not. It keeps its `webhook-id` and its body.

    If it is not delivered, it is tried again as often as a new message. Scope: `jobs:write`.
    """
    async with context.sessions.begin() as session:
        return _serialize_found(await webhooks.redeliver(session, caller.organisation, delivery))


def _serialize_found(row: WebhookDeliveryRow | None) -> WebhookDelivery:
    if row is None:
        raise not_found("webhook delivery")
    return _serialize(row)


def _serialize(row: WebhookDeliveryRow) -> WebhookDelivery:
    names = ("id", "job", "type", "url", "status", "attempts", "next_attempt_at", "created_at", "delivered_at")
    return WebhookDelivery.model_validate({name: getattr(row, name) for name in names})
