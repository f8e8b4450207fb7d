"""The page of a running job."""

import hashlib

from selenium.webdriver.common.by import By

from core.records.completion import UploadedCheckpoint, finish
from core.records.progress import add_measurements, set_phase
from core.schema.manifest import FileEntry, digest
from tests.integration.console.conftest import Console
from tests.integration.console.figures import measurements
from tests.integration.console.story import CONFIG, STEPS, Story


async def test_a_running_job_is_followed_to_its_end_without_reloading(console: Console, story: Story) -> None:
    await story.model("live")
    job, fence = await story.running("live", step=10)
    console.open(f"jobs/{job}")
    console.shows(f"step 10 of {STEPS}", "#live")
    console.page.execute_script("window.neverReloaded = true")
    await story.train(job, fence, 11, 60)
    console.shows(f"step 60 of {STEPS}", "#live")
    assert console.page.find_element(By.CSS_SELECTOR, "#live progress").get_attribute("value") == "30"
    async with story.sessions.begin() as session:
        await set_phase(session, job, fence, "measuring_after")
    console.shows("measuring after", "#live .now")
    entries = [FileEntry(path="config.json", bytes=len(CONFIG), sha256=hashlib.sha256(CONFIG).hexdigest())]
    delivered = UploadedCheckpoint(prefix=f"checkpoints/{job}/{fence}", files=entries, digest=digest(entries), step=60)
    async with story.sessions.begin() as session:
        await add_measurements(session, job, fence, "after", measurements("after"))
        await finish(session, job, fence, outcome="unlearned", checkpoint=delivered)
    console.shows("succeeded", "h1")
    console.shows("73.70", '[data-figure="perplexity"][data-set="forget"] [data-moment="after"]')
    console.shows(delivered.digest, "#made .digest")
    assert console.texts("#cancel") == []
    assert console.page.execute_script("return window.neverReloaded")
