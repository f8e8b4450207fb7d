"""The report of a real job as HTML and as PDF: the same content as the JSON, without any record's text or network."""

import base64
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from selenium import webdriver

from api.reports.blocks import Block, Command, Findings, Section, Table
from api.reports.document import make_document
from core.report.days import day_text
from core.schema.figure_names import PREVIOUSLY_FORGOTTEN
from core.schema.report import Report
from tests.integration.console.browser import CHROMEDRIVER, CHROMIUM, open_browser
from tests.integration.reports.conftest import CANARY, REFERENCE, ReportedJob

PDFTOTEXT = shutil.which("pdftotext")


class _Texts(HTMLParser):
    """The words that a person reads."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.tags: list[str] = []
        self._hidden = False

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self._hidden = self._hidden or tag == "style"

    def handle_endtag(self, tag: str) -> None:
        self._hidden = self._hidden and tag != "style"

    def handle_data(self, data: str) -> None:
        if not self._hidden:
            self.texts.append(data)


def words(text: str) -> str:
    return re.sub(r"\s+", " ", text)


def bare(text: str) -> str:
    """The text without spaces and hyphens: lines end anywhere, also after a hyphen of a word."""
    return re.sub(r"[-\s]", "", text)


def read_pdf(program: str, file: Path) -> str:
    command = [program, "-raw", str(file), "-"]
    return subprocess.run(command, capture_output=True, check=True).stdout.decode()


async def fetch(reported: ReportedJob, form: str) -> bytes:
    answer = await reported.client.get(reported.path, params={"format": form})
    assert answer.status_code == 200, answer.text
    return answer.content


async def sentences(reported: ReportedJob) -> list[str]:
    """The sentences of the report, which every form must hold."""
    report = Report.model_validate_json(await fetch(reported, "json"))
    assert report.verdict is not None
    assert report.previously_forgotten == []  # so that the limit on it has no place
    judged = [bound for bound in report.verdict.bounds if bound.bound.across != PREVIOUSLY_FORGOTTEN]
    bounds = [text for bound in judged for text in (bound.question, bound.answer)]
    return [*report.summary, *bounds, *report.not_proved, *(check.text for check in report.checks)]


async def test_the_form_follows_accept_and_format_wins(reported: ReportedJob) -> None:
    for accept, form, begins in (
        ("text/html,*/*;q=0.8", None, b"<!DOCTYPE html>"),
        ("application/pdf", None, b"%PDF-"),
        ("*/*", None, b"{"),
        ("text/html", "pdf", b"%PDF-"),
    ):
        params = {} if form is None else {"format": form}
        answer = await reported.client.get(reported.path, headers={"Accept": accept}, params=params)
        assert answer.content.lstrip().startswith(begins)
        assert answer.headers["Vary"] == "Accept"
    refused = await reported.client.get(reported.path, headers={"Accept": "image/png"})
    assert (refused.status_code, refused.json()["type"].rpartition(":")[2]) == (406, "not-acceptable")
    unknown = await reported.client.get(reported.path, params={"format": "docx"})
    assert unknown.status_code == 422


async def test_html_has_every_sentence_and_digest_and_no_text_to_forget(reported: ReportedJob) -> None:
    html = (await fetch(reported, "html")).decode()
    assert CANARY not in html
    parser = _Texts()
    parser.feed(html)
    shown = words(" ".join(parser.texts))
    for sentence in await sentences(reported):
        assert words(sentence) in shown
    report = Report.model_validate_json(await fetch(reported, "json"))
    assert report.checkpoint is not None
    assert report.environment is not None
    digests = [report.checkpoint.digest, report.data[0].sha256, report.environment.code_digest]
    for text in (*digests, REFERENCE, "Test House", day_text(report.deadline.ended_at.date())):
        assert text is not None
        assert text in shown
    assert parser.tags.count("svg") >= 4
    assert not {"script", "iframe", "link", "img", "object", "form"} & set(parser.tags)


async def test_pdf_has_every_sentence_is_the_same_each_time_and_has_no_text_to_forget(
    reported: ReportedJob, tmp_path: Path
) -> None:
    pdf = await fetch(reported, "pdf")
    assert pdf == await fetch(reported, "pdf")
    assert b"pdfaid:part" in pdf  # its metadata declare PDF/A
    if PDFTOTEXT is None:
        pytest.skip("pdftotext is not installed (Debian: poppler-utils): the PDF's words are not read")
    (tmp_path / "report.pdf").write_bytes(pdf)
    text = read_pdf(PDFTOTEXT, tmp_path / "report.pdf")
    assert CANARY not in text
    for sentence in await sentences(reported):
        for piece in sentence.split(". "):  # a page may end between two sentences
            assert bare(piece) in bare(text)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    if CHROMIUM is None or CHROMEDRIVER is None:
        pytest.skip("no chromium with chromedriver is installed: the report is not opened in a browser")
    opened = open_browser(tmp_path_factory.mktemp("chromium"))
    yield opened
    opened.quit()


async def test_the_html_opens_without_network_draws_its_pictures_and_prints(
    reported: ReportedJob, browser: webdriver.Chrome, tmp_path: Path
) -> None:
    file = tmp_path / "report.html"
    file.write_bytes(await fetch(reported, "html"))
    browser.get("about:blank")  # else requests of the tab's first page are logged below
    browser.get_log("performance")
    browser.execute_cdp_cmd("Network.enable", {})
    conditions = {"offline": True, "latency": 0, "downloadThroughput": 0, "uploadThroughput": 0}
    browser.execute_cdp_cmd("Network.emulateNetworkConditions", conditions)
    browser.get(file.as_uri())
    for width in (1280, 390):
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        overflow = "return document.documentElement.scrollWidth - document.documentElement.clientWidth"
        assert browser.execute_script(overflow) <= 0
    heights = browser.execute_script(
        "return [...document.querySelectorAll('svg')].map((svg) => svg.getBoundingClientRect().height)"
    )
    assert len(heights) >= 4
    assert min(heights) > 40
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})  # printing of an emulated page fails at times
    printed = browser.execute_cdp_cmd("Page.printToPDF", {"preferCSSPageSize": True})
    assert len(printed["data"]) > 20_000
    requested = [
        entry["message"] for entry in browser.get_log("performance") if "requestWillBeSent" in entry["message"]
    ]
    urls = [url for message in requested for url in re.findall(r'"url":"([^"]+)"', message)]
    assert {urlsplit(url).scheme for url in urls} == {"file"}
    complaints = [entry for entry in browser.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")]
    assert complaints == []


async def test_no_printed_page_ends_with_a_heading_and_none_cuts_a_test_or_a_command(
    reported: ReportedJob, browser: webdriver.Chrome, tmp_path: Path
) -> None:
    if PDFTOTEXT is None:
        pytest.skip("pdftotext is not installed (Debian: poppler-utils): the printed pages are not read")
    file = tmp_path / "report.html"
    file.write_bytes(await fetch(reported, "html"))
    browser.get(file.as_uri())
    printed = browser.execute_cdp_cmd("Page.printToPDF", {"preferCSSPageSize": True})["data"]
    report = Report.model_validate_json(await fetch(reported, "json"))
    document = make_document(report)
    parts = [part for section in document.sections for part in section.blocks]
    for name, pdf in (("html", base64.b64decode(printed)), ("pdf", await fetch(reported, "pdf"))):
        (tmp_path / name).write_bytes(pdf)
        pages = read_pdf(PDFTOTEXT, tmp_path / name).split("\f")
        assert len(pages) > 5
        for page in pages:
            lines = [line for line in page.splitlines() if line and report.job not in line]
            assert not lines or lines[-1] not in headings(document.sections), (name, lines[-3:])
        for pair in pairs_of_a_page(parts):
            assert any(all(bare(text) in bare(page) for text in pair) for page in pages), (name, pair)


def headings(sections: Sequence[Section]) -> set[str]:
    """The lines that something must follow on the same page."""
    tables = [part for section in sections for part in section.blocks if isinstance(part, Table)]
    above = {table.caption for table in tables} | {" ".join(table.columns) for table in tables}
    return above | {section.title for section in sections}


def pairs_of_a_page(parts: Sequence[Block]) -> Iterator[tuple[str, str]]:
    """Texts that must stand on one page: a question with its answer, a way to check with its command."""
    for part in parts:
        if isinstance(part, Command):
            yield part.text, part.command or ""
        if isinstance(part, Findings):
            yield from ((finding.question, finding.answer) for finding in part.findings)


async def test_the_page_applies_its_own_style_under_its_security_policy(
    reported: ReportedJob, browser: webdriver.Chrome
) -> None:
    answer = await reported.client.get(reported.path, params={"format": "html"})
    policy = answer.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe" not in policy
    page = f'<meta http-equiv="Content-Security-Policy" content="{policy.split("; frame-ancestors")[0]}">'
    file = answer.text.replace("<head>", f"<head>{page}")
    browser.get("about:blank")
    frame = browser.execute_cdp_cmd("Page.getFrameTree", {})["frameTree"]["frame"]["id"]
    browser.execute_cdp_cmd("Page.setDocumentContent", {"frameId": frame, "html": file})
    border = "return getComputedStyle(document.querySelector('header')).borderBottomStyle"
    assert browser.execute_script(border) == "solid"
