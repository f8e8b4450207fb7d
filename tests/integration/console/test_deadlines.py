"""Deadlines in the console: shown, filtered by, extended."""

import asyncio
from datetime import date, timedelta

import httpx
from selenium.webdriver.common.by import By

from core.schema.deadlines import add_months
from tests.integration.console.conftest import Console, Served
from tests.integration.console.story import BUSY_ELSEWHERE, Story


async def test_list_and_page_show_the_days_left_and_the_page_each_extension(
    console: Console, served: Served, story: Story
) -> None:
    await story.model("deadlines")
    first = date.today() + timedelta(days=20)
    job = await story.queued("deadlines", gpus=BUSY_ELSEWHERE, due=first)
    late = await story.queued("deadlines", gpus=BUSY_ELSEWHERE, due=first - timedelta(days=60))
    console.open("jobs")
    for id, due, left in ((job, first, "days left"), (late, first - timedelta(days=60), "days late")):
        console.until(lambda id=id: any(id[-8:] in row for row in console.texts("tbody tr")))
        (row,) = [row for row in console.texts("tbody tr") if id[-8:] in row]
        assert (due.isoformat() in row, left in row) == (True, True), row
    reason = "Forty requests at once"
    headers = {"Authorization": f"Bearer {served.key}"}
    async with httpx.AsyncClient(base_url=served.url, headers=headers, timeout=60) as client:
        (await client.post(f"/v1/jobs/{job}/extend", json={"reason": reason})).raise_for_status()
    console.open(f"jobs/{job}")
    console.shows(f"from {first} to {add_months(first, 2)}: {reason}", ".facts")
    console.shows("days left", ".facts")
    console.shows(f"Deadline extended from {first} to {add_months(first, 2)}", ".history")


async def test_the_list_shows_overdue_jobs_alone_soonest_due_first_and_jobs_due_before_a_day(
    console: Console, story: Story
) -> None:
    await story.model("late")
    today = date.today()
    failed = await story.failed("late", due=today - timedelta(days=60))
    made = {
        days: await story.queued("late", gpus=BUSY_ELSEWHERE, due=today + timedelta(days=days))
        for days in (-40, -90, 12, 30)
    }
    console.open("jobs?overdue=true")

    def shown() -> list[str]:
        ids = [text[-8:] for text in console.texts("tbody tr a")]
        return [id for id in ids if id in {job[-8:] for job in (*made.values(), failed)}]

    overdue = [made[-90][-8:], failed[-8:], made[-40][-8:]]
    console.until(lambda: shown() == overdue)
    assert console.texts("caption") == ["Jobs, soonest due first"]
    console.click(f'a[title="{failed}"]')
    console.shows("failed", "h1")
    console.click("#cancel")
    console.shows("deadline then no longer counts", "dialog[open]")
    console.click("dialog[open] [value=cancel]")
    console.shows("cancelled", "h1")
    console.page.back()
    console.until(lambda: shown() == [overdue[0], overdue[2]])
    script = """
    document.getElementById("overdue").value = "";
    const day = document.getElementById("due_before");
    day.value = arguments[0];
    day.dispatchEvent(new Event("change"));
    """
    console.page.execute_script(script, (today + timedelta(days=20)).isoformat())
    console.until(lambda: shown() == [overdue[0], failed[-8:], overdue[2], made[12][-8:]])
    assert "due_before=" in console.page.current_url
    await asyncio.sleep(4)  # it stays so as the list is read again
    assert shown() == [overdue[0], failed[-8:], overdue[2], made[12][-8:]]


async def test_a_deadline_is_extended_with_a_reason(console: Console, story: Story, served: Served) -> None:
    await story.model("extended")
    due = date.today() + timedelta(days=20)
    job = await story.queued("extended", gpus=BUSY_ELSEWHERE, due=due)
    console.open(f"jobs/{job}")
    console.shows("Extend deadline", "#extend")
    console.click("#extend")
    console.click("dialog[open] [value=extend]")  # without a reason: the browser asks for it
    assert served.get(f"/v1/jobs/{job}")["extensions"] == []
    console.page.find_element(By.ID, "extend-reason").send_keys("Forty requests at once")
    chosen = due + timedelta(days=30)
    console.page.execute_script("document.getElementById('extend-due').value = arguments[0]", chosen.isoformat())
    console.click("dialog[open] [value=extend]")
    console.shows(f"from {due} to {chosen}: Forty requests at once", ".facts")
    console.excused = ("422",)
    console.click("#extend")
    console.page.find_element(By.ID, "extend-reason").send_keys("more")
    console.page.execute_script(
        "document.getElementById('extend-due').value = arguments[0]", add_months(due, 9).isoformat()
    )
    console.click("dialog[open] [value=extend]")
    console.shows("can be extended to", "dialog[open] .error")
    console.click("dialog[open] [value=keep]")
    assert served.get(f"/v1/jobs/{job}")["due"] == chosen.isoformat()


async def test_only_a_deadline_that_counts_can_be_extended_and_only_by_who_may(
    console: Console, story: Story, served: Served
) -> None:
    await story.model("fixed")
    late = await story.queued("fixed", gpus=BUSY_ELSEWHERE, due=date.today() - timedelta(days=2))
    console.open(f"jobs/{late}")
    console.shows("Cancel job", "#stop")
    assert console.texts("#extend") == []
    job = await story.queued("fixed", gpus=BUSY_ELSEWHERE, due=date.today() + timedelta(days=2))
    body = {"name": "reader", "scopes": ["jobs:read"]}
    async with httpx.AsyncClient(headers={"Authorization": f"Bearer {served.key}"}, timeout=60) as client:
        key = (await client.post(f"{served.url}/v1/keys", json=body)).json()["key"]
    console.open(f"jobs/{job}", key=key)
    console.shows("days left", ".facts")
    assert console.texts("#stop button") == []
