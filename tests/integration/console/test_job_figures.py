"""The figures and the verdict on a job's page are those that the API gives."""

import re

from tests.integration.console.conftest import Console, Served
from tests.integration.console.figures import everything, judgement, measurements
from tests.integration.console.story import Story


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


async def test_a_verdict_shows_every_bound_with_its_figures_and_its_result(console: Console, story: Story) -> None:
    await story.model("judged")
    console.open(f"jobs/{await story.finished('judged', judgement=judgement())}")
    console.shows("failed", "#verdict .badge")
    console.shows("no questions about what it says were asked", "#verdict .facts")
    console.shows("the job made 200 texts", "#verdict .facts")
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


def _written(value: float, decimals: int) -> str:
    """As the console writes figures; the millions as powers of ten."""
    if value < 1e6:
        return f"{value:,.{decimals}f}"
    mantissa, exponent = re.split(r"e\+0?", f"{value:.1e}")
    return f"{mantissa} · 10{exponent.translate(str.maketrans('0123456789', '⁰¹²³⁴⁵⁶⁷⁸⁹'))}"
