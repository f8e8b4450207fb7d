"""Checkpoints that wait for a person."""

import httpx
from selenium.webdriver.common.by import By

from tests.integration.console.conftest import Console, Served
from tests.integration.console.figures import judgement
from tests.integration.console.story import Story


async def test_a_checkpoint_is_released_with_a_reason_by_a_second_person(
    console: Console, story: Story, served: Served
) -> None:
    await story.model("gated", release="on_pass")
    job = await story.finished("gated", judgement=judgement())
    console.open(f"jobs/{job}")
    console.shows("a second person must accept it", "#gate .notice")
    assert console.texts("#release") == []
    headers = {"Authorization": f"Bearer {served.key}"}

    def key(*scopes: str) -> str:
        body = {"name": "another", "scopes": scopes}
        return str(httpx.post(f"{served.url}/v1/keys", json=body, headers=headers, timeout=60).json()["key"])

    console.open(f"jobs/{job}", key=key("jobs:read"))
    console.shows("may not release it", "#gate .notice")
    console.open(f"jobs/{job}", key=key("jobs:read", "release:write"))
    console.shows("Release it", "#release")
    console.click("#release")
    console.click("dialog [value=release]")  # without a reason: the browser asks for it
    assert served.get(f"/v1/jobs/{job}/checkpoints")["data"][0]["released"] is False
    console.page.find_element(By.ID, "release-reason").send_keys("read by hand")
    console.click("dialog [value=release]")
    console.shows("Released; later jobs start from it", "#past")
    console.until(lambda: console.texts("#gate .notice") == [])
    checkpoint = served.get(f"/v1/jobs/{job}/checkpoints")["data"][0]
    assert checkpoint["released"] is True
    console.shows(checkpoint["released_by"], "#made .facts")
    assert served.get("/v1/models/gated")["head"] == checkpoint["id"]


async def test_a_checkpoint_that_waits_for_a_person_does_not_look_like_a_success(
    console: Console, story: Story
) -> None:
    await story.model("waits", release="on_pass")
    job = await story.finished("waits", judgement=judgement())
    console.open("jobs")
    console.shows(job[-8:], "tbody tr:first-child")
    assert console.texts("tbody tr:first-child .badge")[0] == "waits for release"
    console.open(f"jobs/{job}")
    console.shows("waits for release", "h1")
