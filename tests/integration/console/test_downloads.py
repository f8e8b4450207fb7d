"""Files that the console saves: of a checkpoint, and a job's report."""

import hashlib

from selenium.webdriver.common.by import By

from tests.integration.console.conftest import Console
from tests.integration.console.figures import judgement
from tests.integration.console.story import CONFIG, Story, once


async def test_a_file_of_the_checkpoint_is_saved_after_its_sha256_was_checked(console: Console, story: Story) -> None:
    await story.model("fetched")
    console.open(f"jobs/{await story.finished('fetched')}")
    console.shows("config.json", "#made td")
    console.click('[aria-label="Download config.json"]')
    console.shows("sha256 checked", "#made")
    saved = console.downloads / "config.json"
    console.until(saved.exists)
    assert hashlib.sha256(saved.read_bytes()).digest() == hashlib.sha256(CONFIG).digest()
    console.shows("/archive", ".command")


async def test_a_file_that_is_damaged_is_not_saved(console: Console, story: Story) -> None:
    await story.model("damaged")
    job = await story.finished("damaged")
    stored = [key async for key, _ in story.storage.list(f"checkpoints/{job}") if key.endswith("/tokenizer.json")]
    await story.storage.write(stored[0], once(b"[]"))
    console.open(f"jobs/{job}")
    console.shows("tokenizer.json", "#made td")
    console.click('[aria-label="Download tokenizer.json"]')
    console.shows("The download is damaged", "#made")
    assert not (console.downloads / "tokenizer.json").exists()


async def test_the_report_of_a_job_that_has_ended_is_saved_in_each_form(console: Console, story: Story) -> None:
    await story.model("reported")
    job = await story.finished("reported", judgement=judgement())
    console.open(f"jobs/{job}")
    for form, begins in (("PDF", b"%PDF-"), ("HTML", b"<!DOCTYPE html>"), ("JSON", b"{")):
        console.until(
            lambda: any(button.is_enabled() for button in console.page.find_elements(By.CSS_SELECTOR, "#report button"))
        )
        console.page.find_element(By.XPATH, f"//*[@id='report']//button[.='Save as {form}']").click()
        saved = console.downloads / f"report-{job}.{form.lower()}"
        console.until(saved.exists)
        assert saved.read_bytes().lstrip().startswith(begins)
    running, _ = await story.running("reported", step=10)
    console.open(f"jobs/{running}")
    console.shows("step 10", "#live")
    assert console.texts("#report button") == []
