"""The lists of models, methods and files, and places that are not there."""

from selenium.webdriver.common.by import By

from tests.integration.console.conftest import Console, Served
from tests.integration.console.story import Story


async def test_models_methods_and_files_are_listed(console: Console, story: Story, served: Served) -> None:
    await story.model("listed")
    file = await story.file("unseen", records=1234)
    console.open("models")
    console.shows("3.7M", "tbody tr")
    console.shows("default", "tbody tr")
    console.shows("no release needed", "tbody tr")
    console.page.find_element(By.LINK_TEXT, "Methods").click()
    names = [method["name"] for method in served.get("/v1/methods")["data"]]
    console.until(lambda: console.texts("article h2") == names)
    console.page.find_element(By.LINK_TEXT, "Files").click()
    console.shows(file[-8:], "tbody code")
    console.shows("1,234", "tbody tr:first-child")


def test_an_unknown_job_is_reported(console: Console) -> None:
    console.excused = ("404 (Not Found)",)
    console.open("jobs/job-none")
    console.shows("there is no such job", "[role=alert]")
