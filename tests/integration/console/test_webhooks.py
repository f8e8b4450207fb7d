"""Messages to webhooks in the console: listed, and sent again."""

from datetime import UTC, datetime
from typing import Any

import httpx

from core.records import job_actions, webhooks
from core.schema.webhooks import DeliveryAttempt
from tests.integration.console.conftest import Console, Served
from tests.integration.console.story import BUSY_ELSEWHERE, Story


async def ended(story: Story, served: Served, url: str) -> dict[str, Any]:
    """Makes a job with a webhook, cancels it, and records that its message was refused; returns the delivery."""
    job = await story.queued("messages", gpus=BUSY_ELSEWHERE, webhook=url)
    attempt = DeliveryAttempt(at=datetime.now(UTC), http_status=503, error="status")
    async with story.sessions.begin() as session:  # one transaction, else the service tries to deliver in between
        await job_actions.cancel(session, story.organisation, job)
        (delivery,) = await webhooks.page(session, story.organisation, limit=2, job=job)
        await webhooks.record_attempt(session, delivery.id, attempt, pauses=(), final=True)
    return dict(served.get(f"/v1/webhooks/deliveries/{delivery.id}"))


async def test_a_message_that_did_not_arrive_says_why_and_is_sent_again(
    console: Console, story: Story, served: Served
) -> None:
    await story.model("messages")
    delivery = await ended(story, served, "https://receiver.invalid/hook")
    row = f'[data-delivery="{delivery["id"]}"]'
    console.open("webhooks")
    console.shows("failed", f"{row} .badge")
    console.shows("answered 503", row)
    console.shows("job.cancelled", row)
    console.shows("https://receiver.invalid/hook", row)
    console.click(f"{row} button")
    console.until(lambda: console.texts(f"{row} .badge") == ["pending"])
    assert served.get(f"/v1/webhooks/deliveries/{delivery['id']}")["status"] in ("pending", "failed")
    console.page.get(f"{served.url}/#/webhooks?status=delivered")
    console.shows("No message matches this filter")


async def test_a_jobs_page_leads_to_its_messages_and_a_reader_sends_none_again(
    console: Console, story: Story, served: Served
) -> None:
    await story.model("messages-read")
    delivery = await ended(story, served, "https://receiver.invalid/other")
    await ended(story, served, "https://receiver.invalid/hook")
    body = {"name": "reader", "scopes": ["jobs:read"]}
    async with httpx.AsyncClient(headers={"Authorization": f"Bearer {served.key}"}, timeout=60) as client:
        key = (await client.post(f"{served.url}/v1/keys", json=body)).json()["key"]
    console.open(f"jobs/{delivery['job']}", key=key)
    console.shows("https://receiver.invalid/other", ".facts")
    console.click('.facts a[href^="#/webhooks"]')
    console.until(lambda: len(console.texts("tbody tr")) == 1)
    console.shows("https://receiver.invalid/other", "tbody tr")
    assert console.texts("tbody button") == []
