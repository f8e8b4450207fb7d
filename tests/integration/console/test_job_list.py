"""The list of jobs: newest first, filtered, up to date."""

import asyncio

from tests.integration.console.conftest import Console
from tests.integration.console.story import BUSY_ELSEWHERE, Story


async def test_the_list_shows_the_newest_jobs_and_older_jobs_on_request(console: Console, story: Story) -> None:
    await story.model("many")
    made = [await story.queued("many", gpus=BUSY_ELSEWHERE, reference=f"DSR-{number}") for number in range(22)]
    console.open("jobs")
    console.until(lambda: len(console.texts("tbody tr")) == 20)
    newest = [job[-8:] for job in reversed(made)]
    assert [text[-8:] for text in console.texts("tbody tr a")] == newest[:20]
    console.click("#older")
    console.until(lambda: len(console.texts("tbody tr")) >= 22)
    assert [text[-8:] for text in console.texts("tbody tr a")][:22] == newest
    console.shows("DSR-21", "tbody tr:first-child")
    later = await story.queued("many", gpus=BUSY_ELSEWHERE)
    console.shows(later[-8:], "tbody tr:first-child a")
    assert len(console.texts("tbody tr")) >= 23


async def test_the_filter_shows_matching_jobs_only_is_in_the_address_and_survives_going_back(
    console: Console, story: Story
) -> None:
    await story.model("filtered")
    made = [await story.queued("filtered", gpus=BUSY_ELSEWHERE, reference=f"F-{number}") for number in range(25)]
    console.open("jobs")
    console.until(lambda: len(console.texts("tbody tr")) == 20)
    # the answer for older jobs is on its way when the filter changes
    script = """
    document.getElementById("older").click();
    const reference = document.getElementById("external_reference");
    reference.value = "F-3";
    reference.dispatchEvent(new Event("change"));
    """
    console.page.execute_script(script)
    console.until(lambda: [text[-8:] for text in console.texts("tbody tr a")] == [made[3][-8:]])
    await asyncio.sleep(1.0)
    assert [text[-8:] for text in console.texts("tbody tr a")] == [made[3][-8:]]
    assert console.page.current_url.endswith("#/jobs?external_reference=F-3")
    console.click("tbody tr a")
    console.shows("queued", "h1")
    console.page.back()
    console.until(lambda: [text[-8:] for text in console.texts("tbody tr a")] == [made[3][-8:]])
    assert console.page.execute_script("return document.getElementById('external_reference').value") == "F-3"


async def test_a_list_of_open_jobs_is_kept_up_to_date_by_one_request_at_a_time(console: Console, story: Story) -> None:
    await story.model("polled")
    for _ in range(30):
        await story.queued("polled", gpus=BUSY_ELSEWHERE)
    console.open("jobs")
    console.until(lambda: len(console.texts("tbody tr")) == 20)
    console.click("#older")
    console.until(lambda: len(console.texts("tbody tr")) > 20)
    console.requests()
    await asyncio.sleep(7)
    requested = [url for url in console.requests() if "/v1/jobs" in url]
    assert 1 <= len(requested) <= 4, requested
    assert all("/v1/jobs?" in url for url in requested)
    console.open("jobs")  # the teardown wants to see a request
