"""Buttons that act on a job, and who sees them."""

import httpx

from core.records import jobs
from tests.integration.console.conftest import Console, Served
from tests.integration.console.story import BUSY_ELSEWHERE, Story


async def test_the_cancel_button_asks_and_then_cancels(console: Console, story: Story) -> None:
    await story.model("unwanted")
    job = await story.queued("unwanted", gpus=BUSY_ELSEWHERE)
    console.open(f"jobs/{job}")
    console.shows("Waiting for a worker", "#live")
    console.click("#cancel")
    console.click("dialog [value=keep]")
    console.click("#cancel")
    async with story.sessions() as session:
        waiting = await jobs.get(session, story.organisation, job)
        assert waiting is not None
        assert waiting.status == "queued"
    console.click("dialog [value=cancel]")
    console.shows("cancelled", "h1")
    async with story.sessions() as session:
        cancelled = await jobs.get(session, story.organisation, job)
        assert cancelled is not None
        assert cancelled.status == "cancelled"


async def test_a_job_is_paused_and_goes_on_by_its_buttons(console: Console, story: Story) -> None:
    await story.model("paused")
    job = await story.queued("paused", gpus=BUSY_ELSEWHERE)
    console.open(f"jobs/{job}")
    console.shows("Pause", "#pause")
    console.click("#pause")
    console.shows("paused", "h1")
    assert console.texts("#pause") == []
    console.shows("Resume", "#resume")
    console.click("#resume")
    console.shows("queued", "h1")
    console.shows("Back in the queue: resumed", "#past")
    assert console.texts("#retry") == []


async def test_a_failed_job_says_why_and_what_to_do(console: Console, story: Story) -> None:
    await story.model("broken")
    console.open(f"jobs/{await story.failed('broken')}")
    console.shows("The loss became NaN at step 4: lower the learning rate", ".notice.bad")
    console.shows("submit a new job", ".notice.bad")


async def test_a_key_without_the_scopes_sees_no_buttons_for_actions_or_release(
    console: Console, story: Story, served: Served
) -> None:
    await story.model("read-only")
    job = await story.queued("read-only", gpus=BUSY_ELSEWHERE)
    console.open(f"jobs/{job}")
    console.shows("Cancel job", "#cancel")
    body = {"name": "reader", "scopes": ["jobs:read"]}
    async with httpx.AsyncClient(headers={"Authorization": f"Bearer {served.key}"}, timeout=60) as client:
        key = (await client.post(f"{served.url}/v1/keys", json=body)).json()["key"]
    console.open(f"jobs/{job}", key=key)
    console.shows("queued", "h1")
    console.shows("calibrated", "#about")
    assert console.texts("#stop button") == []


async def test_the_focus_returns_to_its_element_after_a_dialog(console: Console, story: Story) -> None:
    await story.model("focused")
    job = await story.queued("focused", gpus=BUSY_ELSEWHERE)
    console.open(f"jobs/{job}")
    console.shows("Cancel job", "#cancel")
    focused = "return document.activeElement.id"
    console.click("#cancel")
    console.click("dialog [value=keep]")
    assert console.page.execute_script(focused) == "cancel"
    console.click("#cancel")
    console.click("dialog [value=cancel]")
    console.shows("cancelled", "h1")
    console.until(lambda: console.page.execute_script(focused) == "main")  # the button is gone
