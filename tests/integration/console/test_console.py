"""The console in a real browser, in front of the real API."""

import asyncio
import hashlib
import re
from datetime import date, timedelta

import httpx
from selenium.webdriver.common.by import By

from api.auth import new_api_key
from core.records import jobs
from core.records.completion import UploadedCheckpoint, finish
from core.records.progress import add_measurements, set_phase
from core.schema.deadlines import add_months
from core.schema.manifest import FileEntry, digest
from tests.integration.console.conftest import Console, Served
from tests.integration.console.figures import everything, judgement, measurements
from tests.integration.console.story import CONFIG, STEPS, Story, once

BUSY_ELSEWHERE = 8
"""GPUs that no job of these tests is claimed with: such a job stays in the queue."""


def test_a_wrong_key_is_reported_and_not_kept(console: Console) -> None:
    console.excused = ("401 (Unauthorized)",)
    console.open("jobs", key=new_api_key())
    console.shows("does not know this key", "#key-error")
    assert console.page.execute_script("return sessionStorage.length") == 0
    assert not console.page.find_element(By.ID, "places").is_displayed()


def test_a_key_that_is_revoked_leads_back_to_the_sign_in(console: Console, served: Served) -> None:
    console.excused = ("401 (Unauthorized)",)
    headers = {"Authorization": f"Bearer {served.key}"}
    body = {"name": "short-lived", "scopes": ["jobs:read"]}
    made = httpx.post(f"{served.url}/v1/keys", json=body, headers=headers).json()
    console.open("jobs", key=made["key"])
    console.shows("Jobs", "h1")
    httpx.delete(f"{served.url}/v1/keys/{made['id']}", headers=headers).raise_for_status()
    console.page.find_element(By.LINK_TEXT, "Methods").click()
    console.shows("not valid", "#key-error")
    assert console.page.execute_script("return sessionStorage.length") == 0


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
    async with httpx.AsyncClient(base_url=served.url, headers=headers) as client:
        (await client.post(f"/v1/jobs/{job}/extend", json={"reason": reason})).raise_for_status()
    console.open(f"jobs/{job}")
    console.shows(f"from {first} to {add_months(first, 2)}: {reason}", ".facts")
    console.shows("days left", ".facts")
    console.shows(f"Deadline extended from {first} to {add_months(first, 2)}", ".history")


async def test_a_finished_job_shows_the_figures_that_the_api_gives(
    console: Console, served: Served, story: Story
) -> None:
    await story.model("done")
    job = await story.finished("done", reference="DSR-2026-0142")
    console.open(f"jobs/{job}")
    console.shows("succeeded", "h1")
    console.shows("DSR-2026-0142", ".facts")
    console.shows("forget", "#figures tbody")
    metrics = served.get(f"/v1/jobs/{job}/metrics")
    for moment in ("before", "after"):
        for name, figures in metrics[moment]["sets"].items():
            for figure, decimals in (("perplexity", 2), ("accuracy", 3), ("extraction_strength", 3)):
                cell = f'[data-figure="{figure}"][data-set="{name}"] [data-moment="{moment}"]'
                assert console.texts(cell) == [_written(figures[figure]["value"], decimals)]
                low, high = (_written(figures[figure][edge], decimals) for edge in ("low", "high"))
                assert console.texts(f"{cell} + .interval") == [f"{low} to {high}"]
        for name, attack in metrics[moment]["attacks"].items():
            (shown,) = console.texts(f'[data-attack="{name}"] [data-moment="{moment}"]')
            assert shown == _written(attack["auc"]["value"], 3)
    dots = "return [...document.querySelectorAll('[data-attack=\"loss\"] circle')].map((dot) => dot.cx.baseVal.value)"
    before, after = console.page.execute_script(dots)
    middle = console.page.execute_script("return document.querySelector('[data-attack=loss] .middle').x1.baseVal.value")
    assert after < middle < before  # AUC 0.476 and 1.0
    assert console.texts("[data-curve=loss] output") == [f"{metrics['curves']['loss'][-1][1]:.4g}"]
    checkpoint = served.get(f"/v1/jobs/{job}")["checkpoint"]
    console.shows(served.get(f"/v1/checkpoints/{checkpoint}")["digest"], "#made .digest")
    console.shows("they are used again", ".notice")
    assert console.texts("#cost p") == [
        "Cost: 2 min 20 s, 818 tokens/s in training, 2.3K tokens/s in measuring, 1.5 GiB of memory at its peak,"
        " 4.00e12 model FLOPs (0.05 % of a retraining)."
    ]
    assert not any("/content" in url for url in console.requests())  # no record's text is ever fetched
    console.page.get(f"{served.url}/#/jobs")  # the teardown wants to see a request


async def test_every_figure_of_a_job_is_shown_beside_the_retrained_model_s(console: Console, story: Story) -> None:
    await story.model("measured")
    console.open(f"jobs/{await story.finished('measured', after=everything(), retrained=measurements('before'))}")
    console.shows("forget", "#figures tbody")
    for figure, of, value in (
        ("probability", "probes", "0.210"),
        ("exposure_p", "probes", "1.00e-32"),
        ("perplexity", "forget, int4 copy", "61.50"),
        ("baseline_auc", "", "0.512"),
        ("relearned_forget_perplexity", "after 5 steps", "40.25"),
        ("weight_distance_layers", "layer 3", "4.50e-4"),
        ("weight_line_loss", "75 % of the way back", "2.500"),
        ("acc", "a_task", "0.253"),
        ("true_positive_rate_at_5_%_false", "loss", "0.060"),
    ):
        row = f'[data-figure="{figure}"][data-set="{of}"]'
        assert console.texts(f'{row} [data-moment="after"]') == [value]
    assert console.texts('[data-figure="perplexity"][data-set="forget"] [data-moment="retrained"]') == ["1.19"]
    assert console.texts('[data-attack="loss"] [data-moment="retrained"]') == ["1.000"]
    console.shows("exposure, forget: 32 of 200 were looked at (its limit on records)", "#figures .notice")


async def test_a_dry_run_shows_what_the_model_remembers_and_no_method(console: Console, story: Story) -> None:
    await story.model("dry")
    job = await story.dry_run("dry")
    console.open(f"jobs/{job}")
    console.shows("dry run: nothing is changed", ".facts")
    console.shows("membership AUC 1 (1 to 1)", "#said .calm")
    console.shows("there may be something to forget", ".facts")
    console.shows("forget", "#figures tbody")
    assert console.texts('[data-figure="perplexity"][data-set="forget"] [data-moment]') == ["1.19"]
    assert "calibrated" not in console.texts("#about")[0]
    console.open("jobs")
    console.shows(job[-8:], "tbody")
    console.page.find_element("css selector", "#kind option[value=preview]").click()
    console.until(lambda: len(console.texts("tbody tr")) == 1)
    console.shows("dry run", "tbody tr")


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


async def test_the_cancel_button_asks_and_then_cancels(console: Console, story: Story) -> None:
    await story.model("unwanted")
    job = await story.queued("unwanted", gpus=BUSY_ELSEWHERE)
    console.open(f"jobs/{job}")
    console.shows("Waiting for a worker", "#live")
    console.click("#cancel")
    console.click("dialog [value=keep]")
    console.click("#cancel")
    async with story.sessions() as session:
        waiting = await jobs.get(session, story.organisation, job)
        assert waiting is not None
        assert waiting.status == "queued"
    console.click("dialog [value=cancel]")
    console.shows("cancelled", "h1")
    async with story.sessions() as session:
        cancelled = await jobs.get(session, story.organisation, job)
        assert cancelled is not None
        assert cancelled.status == "cancelled"


async def test_a_job_is_paused_and_goes_on_by_its_buttons(console: Console, story: Story) -> None:
    await story.model("paused")
    job = await story.queued("paused", gpus=BUSY_ELSEWHERE)
    console.open(f"jobs/{job}")
    console.shows("Pause", "#pause")
    console.click("#pause")
    console.shows("paused", "h1")
    assert console.texts("#pause") == []
    console.shows("Resume", "#resume")
    console.click("#resume")
    console.shows("queued", "h1")
    console.shows("Back in the queue: resumed", "#past")
    assert console.texts("#retry") == []


async def test_a_verdict_shows_every_bound_with_its_figures_and_its_result(console: Console, story: Story) -> None:
    await story.model("judged")
    console.open(f"jobs/{await story.finished('judged', judgement=judgement())}")
    console.shows("failed", "#verdict .badge")
    console.shows("no questions about what it says were asked", "#verdict .facts")
    assert console.texts("[data-part] .badge") == ["failed", "not judged"]
    console.shows("not required", '[data-part="membership"]')
    for judged in judgement().bounds:
        row = f'[data-bound="{judged.bound.name}"]'
        assert console.texts(f"{row} .badge") == [judged.result.replace("_", " ")]
        assert console.texts(f"{row} .strong") == ["–" if judged.value is None else f"{judged.value:.3f}"]
        ends = "–" if judged.low is None else f"{judged.low:.3f} to {judged.high:.3f}"
        assert console.texts(f"{row} .interval") == [ends]
    assert console.texts('[data-bound="extraction"] td')[4] == "at most 0.100"
    assert console.texts('[data-bound="membership.loss"] td')[4] == "-0.150 to 0.150"
    _, uncertain, aside = (f'[data-bound="{judged.bound.name}"]' for judged in judgement().bounds[:3])
    console.shows("the interval is too wide to tell", uncertain)
    console.shows("told apart without the model", f"{aside}.aside")
    console.shows("Verdict: failed", "#past")


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
        return str(httpx.post(f"{served.url}/v1/keys", json=body, headers=headers).json()["key"])

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


async def test_a_failed_job_says_why_and_what_to_do(console: Console, story: Story) -> None:
    await story.model("broken")
    console.open(f"jobs/{await story.failed('broken')}")
    console.shows("The loss became NaN at step 4: lower the learning rate", ".notice.bad")
    console.shows("submit a new job", ".notice.bad")


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


def _written(value: float, decimals: int) -> str:
    """As the console writes figures; the millions as powers of ten."""
    if value < 1e6:
        return f"{value:,.{decimals}f}"
    mantissa, exponent = re.split(r"e\+0?", f"{value:.1e}")
    return f"{mantissa} · 10{exponent.translate(str.maketrans('0123456789', '⁰¹²³⁴⁵⁶⁷⁸⁹'))}"


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


async def test_a_key_without_the_scopes_sees_no_buttons_for_actions_or_release(
    console: Console, story: Story, served: Served
) -> None:
    await story.model("read-only")
    job = await story.queued("read-only", gpus=BUSY_ELSEWHERE)
    console.open(f"jobs/{job}")
    console.shows("Cancel job", "#cancel")
    body = {"name": "reader", "scopes": ["jobs:read"]}
    async with httpx.AsyncClient(headers={"Authorization": f"Bearer {served.key}"}) as client:
        key = (await client.post(f"{served.url}/v1/keys", json=body)).json()["key"]
    console.open(f"jobs/{job}", key=key)
    console.shows("queued", "h1")
    console.shows("calibrated", "#about")
    assert console.texts("#stop button") == []


async def test_the_focus_returns_to_its_element_after_a_dialog(console: Console, story: Story) -> None:
    await story.model("focused")
    job = await story.queued("focused", gpus=BUSY_ELSEWHERE)
    console.open(f"jobs/{job}")
    console.shows("Cancel job", "#cancel")
    focused = "return document.activeElement.id"
    console.click("#cancel")
    console.click("dialog [value=keep]")
    assert console.page.execute_script(focused) == "cancel"
    console.click("#cancel")
    console.click("dialog [value=cancel]")
    console.shows("cancelled", "h1")
    console.until(lambda: console.page.execute_script(focused) == "main")  # the button is gone
