"""Takes a screenshot of a job's page: `python -m tests.integration.console.screenshot URL KEYFILE JOB OUT [--dark]`."""

import sys
import tempfile
from pathlib import Path

from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from tests.integration.console.browser import open_browser, resize

WIDTH = 1280
SECONDS = 30
DOWN_TO = "#figures .tiles"
"""The last part of the page that is in the screenshot."""


def take(url: str, key: str, job: str, out: Path, *, dark: bool = False) -> None:
    """Signs in with the key, opens the job's page and writes what it shows, from the top to the first figures."""
    with tempfile.TemporaryDirectory() as profile:
        browser = open_browser(Path(profile), width=WIDTH, dark=dark)
        try:
            wait = WebDriverWait(browser, SECONDS)
            browser.get(f"{url.rstrip('/')}/#/jobs/{job}")
            wait.until(lambda page: page.find_element(By.ID, "key")).send_keys(key)
            browser.find_element(By.CSS_SELECTOR, ".sign-in button").click()
            wait.until(lambda page: page.find_elements(By.CSS_SELECTOR, DOWN_TO))
            bottom = f"return Math.ceil(document.querySelector('{DOWN_TO}').getBoundingClientRect().bottom) + 20"
            resize(browser, WIDTH, browser.execute_script(bottom))
            out.write_bytes(browser.get_screenshot_as_png())
        finally:
            browser.quit()


if __name__ == "__main__":
    arguments = [argument for argument in sys.argv[1:] if argument != "--dark"]
    if len(arguments) != 4:
        sys.exit(__doc__)
    take(
        arguments[0],
        Path(arguments[1]).read_text().strip(),
        arguments[2],
        Path(arguments[3]),
        dark="--dark" in sys.argv,
    )
