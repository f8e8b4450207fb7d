"""The API as a real process on a database of its own, and a real browser in front of it."""

import base64
import json
import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
import pytest_asyncio
from selenium import webdriver
from selenium.webdriver.common.by import By
from sqlalchemy.ext.asyncio import async_sessionmaker

from api.auth import hash_key, new_api_key
from core.embedded import Stack
from core.records import keys
from core.records.engine import make_engine
from core.storage import open_storage
from tests.integration.console.browser import CHROMEDRIVER, CHROMIUM, open_browser
from tests.integration.console.story import Story
from tests.servers import new_database

START_SECONDS = 90
WAIT_SECONDS = 30


@dataclass(frozen=True)
class Served:
    """The running API, and an admin's key for it."""

    url: str
    key: str
    database_url: str
    service_key: bytes

    def get(self, path: str) -> Any:
        answer = httpx.get(f"{self.url}{path}", headers={"Authorization": f"Bearer {self.key}"}, timeout=60)
        answer.raise_for_status()
        return answer.json()


@pytest_asyncio.fixture(scope="package")
async def served(stack: Stack, template_url: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Served]:
    folder = tmp_path_factory.mktemp("console")
    service_key = secrets.token_bytes(32)
    (folder / "service.key").write_bytes(base64.b64encode(service_key))
    key = new_api_key()
    (folder / "admin.key").write_text(key)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    async with new_database(stack, template=template_url) as database_url:
        environment = {
            "DATABASE_URL": database_url,
            "REDIS_URL": stack.redis_url,
            "SERVICE_KEY_FILE": str(folder / "service.key"),
            "ADMIN_KEY_FILE": str(folder / "admin.key"),
            "LOG_LEVEL": "warning",
        }
        with _api(port, environment) as url:
            yield Served(url, key, database_url, service_key)


@contextmanager
def _api(port: int, environment: dict[str, str]) -> Iterator[str]:
    """The API as a process of its own: the tests' own loop stands still while they wait for the browser."""
    command = ["-m", "uvicorn", "api.main:app_from_environment", "--factory", "--port", str(port)]
    command += ["--timeout-graceful-shutdown", "1", "--log-level", "warning", "--no-access-log"]
    process = subprocess.Popen([sys.executable, *command], env={**os.environ, **environment})
    try:
        url = f"http://127.0.0.1:{port}"
        _wait_until_up(url, process)
        yield url
    finally:
        process.terminate()
        process.wait(10)


def _wait_until_up(url: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        with suppress(httpx.TransportError):
            if httpx.get(f"{url}/readyz", timeout=60).status_code == 200:
                return
        time.sleep(0.1)
    raise TimeoutError("the API did not come up")


@pytest_asyncio.fixture(scope="package")
async def story(served: Served) -> AsyncIterator[Story]:
    """What the API shows, written as the API and the worker write it."""
    engine = make_engine(served.database_url)
    sessions = async_sessionmaker(engine, expire_on_commit=False)
    async with sessions() as session:
        known = await keys.find_by_hash(session, hash_key(served.key, served.service_key))
        assert known is not None
    yield Story(sessions, open_storage("postgres://", engine), known.organisation, known.id)
    await engine.dispose()


@dataclass
class Console:
    """The browser with the console in it. `excused` are words of console errors that a test provokes on purpose."""

    page: webdriver.Chrome
    served: Served
    downloads: Path
    excused: tuple[str, ...] = ()

    def open(self, place: str, key: str | None = None) -> None:
        """Opens `#/place` in a new session, signed in."""
        self.page.get("about:blank")
        self.page.get(f"{self.served.url}/#/{place}")
        self.page.execute_script("sessionStorage.clear()")
        self.page.refresh()
        self.sign_in(self.served.key if key is None else key)

    def sign_in(self, key: str) -> None:
        self.until(lambda: self.page.find_element(By.ID, "key").is_displayed())
        self.page.find_element(By.ID, "key").send_keys(key)
        self.click(".sign-in button")

    def click(self, selector: str) -> None:
        self.page.find_element(By.CSS_SELECTOR, selector).click()

    def texts(self, selector: str) -> list[str]:
        """What a person reads in these places; unfolded or not."""
        script = "return [...document.querySelectorAll(arguments[0])].map((node) => node.textContent.trim())"
        texts: list[str] = self.page.execute_script(script, selector)
        return texts

    def shows(self, text: str, within: str = "main", seconds: float = WAIT_SECONDS) -> None:
        """Waits until the text is visible."""
        try:
            self.until(lambda: any(text in shown for shown in self.texts(within)), seconds)
        except TimeoutError:
            raise AssertionError(f"{text!r} is not in {self.texts(within)}") from None

    def until(self, holds: Callable[[], bool], seconds: float = WAIT_SECONDS) -> None:
        deadline = time.monotonic() + seconds
        while not holds():
            if time.monotonic() > deadline:
                raise TimeoutError
            time.sleep(0.05)

    def requests(self) -> list[str]:
        """Returns every URL that the page has requested since the last call."""
        logged = [json.loads(entry["message"])["message"] for entry in self.page.get_log("performance")]
        return [entry["params"]["request"]["url"] for entry in logged if entry["method"] == "Network.requestWillBeSent"]

    def complaints(self) -> list[str]:
        """Returns the messages of the browser's console since the last call, without the excused messages."""
        messages = [
            entry["message"] for entry in self.page.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")
        ]
        return [message for message in messages if not any(words in message for words in self.excused)]


@pytest.fixture(scope="package")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[webdriver.Chrome, Path]]:
    if CHROMIUM is None or CHROMEDRIVER is None:
        pytest.skip("no chromium with chromedriver is installed: the console is not tested in a browser")
    profile = tmp_path_factory.mktemp("chromium")
    browser = open_browser(profile)
    yield browser, profile
    browser.quit()


@pytest.fixture
def console(chromium: tuple[webdriver.Chrome, Path], served: Served) -> Iterator[Console]:
    """The console. After each test: no request went to another host, and the browser logged nothing unexpected."""
    browser, profile = chromium
    shown = Console(browser, served, profile)
    shown.requests()
    shown.complaints()
    yield shown
    own = ("about", "blob", "data")  # of the page, or of the browser: the picture in a field for a date
    hosts = {urlsplit(url).netloc for url in shown.requests() if urlsplit(url).scheme not in own}
    assert hosts == {urlsplit(served.url).netloc}
    assert shown.complaints() == []
