"""The console's files over HTTP, without a browser."""

import re

import httpx
import pytest

from api.routes.console import FOLDER
from tests.integration.console.conftest import Served


def test_every_file_says_what_it_is_and_allows_nothing_from_elsewhere(served: Served) -> None:
    types = {".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
    files = [path for path in FOLDER.rglob("*") if path.is_file()]
    assert len(files) > 20
    with httpx.Client(base_url=served.url, timeout=60) as client:
        for path in files:
            answer = client.get(f"/console/{path.relative_to(FOLDER).as_posix()}")
            assert answer.status_code == 200
            assert answer.content == path.read_bytes()
            assert answer.headers["Content-Type"].startswith(types[path.suffix])
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
            policy = answer.headers["Content-Security-Policy"]
            assert policy.startswith("default-src 'none';")
            assert "unsafe" not in policy
            assert "http" not in policy


def test_the_console_is_at_the_root_and_costs_nothing_the_second_time(served: Served) -> None:
    first = httpx.get(f"{served.url}/", timeout=60)
    assert "<title>Unlearning service</title>" in first.text
    again = httpx.get(f"{served.url}/", headers={"If-None-Match": first.headers["ETag"]}, timeout=60)
    assert (again.status_code, again.content) == (304, b"")
    head = httpx.head(f"{served.url}/", timeout=60)
    assert (head.status_code, head.headers["ETag"]) == (200, first.headers["ETag"])


@pytest.mark.parametrize("path", ["/console/nothing.js", "/console/..%2fauth.py", "/console/%2e%2e/auth.py"])
def test_nothing_but_the_console_s_files_is_served(served: Served, path: str) -> None:
    answer = httpx.get(f"{served.url}{path}", timeout=60)
    assert answer.status_code == 404
    assert "import" not in answer.text


def test_the_page_has_no_inline_script_style_or_foreign_address() -> None:
    for path in FOLDER.rglob("*"):
        if path.is_dir():
            continue
        text = path.read_text()
        foreign = [url for url in re.findall(r"https?://[^\"'\s`]*", text) if url != "http://www.w3.org/2000/svg"]
        assert foreign in ([], ["https://"])  # the latter is compared with, in the list of methods
        assert "innerHTML" not in text
        if path.suffix == ".html":
            assert not re.search(r"<script(?![^>]*src=)|<style|\son\w+=|\sstyle=", text)
