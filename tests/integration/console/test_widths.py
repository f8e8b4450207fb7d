"""The visible parts of the console on screens of several widths."""

from tests.integration.console.browser import resize
from tests.integration.console.conftest import Console
from tests.integration.console.figures import judgement
from tests.integration.console.story import Story


async def test_a_narrow_window_shows_result_and_due_date_without_scrolling_sideways(
    console: Console, story: Story
) -> None:
    await story.model("narrow", release="on_pass")
    job = await story.finished("narrow", judgement=judgement(), reference="DSR-77")
    script = (
        "const place = document.querySelector(arguments[0]).getBoundingClientRect(); return [place.left, place.right]"
    )
    resize(console.page, 400, 900)
    try:
        for page, places in (
            ("jobs", ("tbody tr:first-child [data-heading='Ticket, due']",)),
            (f"jobs/{job}", ("[data-bound=extraction] .badge", "[data-bound=extraction] .interval")),
        ):
            console.open(page)
            console.until(lambda selector=places[0]: console.texts(selector) != [])
            for place in places:
                left, right = console.page.execute_script(script, place)
                assert (left >= 0, right <= 400, right > left) == (True, True, True), place
    finally:
        resize(console.page, 1280, 900)


async def test_a_usual_window_shows_all_of_a_verdict_without_scrolling_sideways(console: Console, story: Story) -> None:
    await story.model("usual", release="on_pass")
    job = await story.finished("usual", judgement=judgement())
    console.open(f"jobs/{job}")
    console.until(lambda: console.texts("[data-bound=relearned] .badge") != [])
    script = (
        "const place = document.querySelector('[data-bound=relearned]').closest('.scrollable');"
        "return [place.scrollWidth, place.clientWidth]"
    )
    content_width, region_width = console.page.execute_script(script)
    assert 0 < content_width <= region_width
