"""Pictures: figures are at their places, and names cannot break out of the SVG."""

from xml.etree import ElementTree

import pytest

from api.reports.charts.intervals import Limit, Row, interval_chart
from api.reports.charts.lines import Panel, curve_chart, roc_chart
from api.reports.charts.scale import Scale, linear, logarithmic, tick_text
from core.schema.evaluation import Figure

SVG = "{http://www.w3.org/2000/svg}"


def figure(value: float, low: float | None = None, high: float | None = None) -> Figure:
    return Figure(value=value, low=low, high=high, records=20)


def test_a_linear_scale_puts_a_figure_in_proportion() -> None:
    scale = linear([0.25], 100, 200, at_least=(0.0, 1.0))
    assert scale.place(0.25) == 125
    assert scale.place(-3) == 100
    assert scale.ticks() == pytest.approx([0, 0.2, 0.4, 0.6, 0.8, 1.0])


def test_a_logarithmic_scale_gives_each_factor_the_same_room() -> None:
    scale = Scale(1, 100, 0, 200, log=True)
    assert scale.place(10) == pytest.approx(100)
    assert scale.ticks() == [1, 2, 5, 10, 20, 50, 100]


@pytest.mark.parametrize("values", [[1.02, 1.03], [1.0, 1e6], [5.0, 5.0], [1e-5, 3e-5]])
def test_every_logarithmic_scale_has_ticks_inside(values: list[float]) -> None:
    scale = logarithmic(values, 0, 100)
    ticks = scale.ticks()
    assert 1 <= len(ticks) <= 8
    assert all(0 <= scale.place(tick) <= 100 for tick in ticks)


def test_ticks_are_written_as_people_write_numbers() -> None:
    assert [tick_text(value) for value in (0.30000000000000004, 2.0, 20000.0)] == ["0.3", "2", "20,000"]


def test_an_interval_chart_draws_each_figure_with_its_interval() -> None:
    rows = [Row("a row", {"before": figure(0.5, 0.4, 0.6), "after": figure(0.1)})]
    root = ElementTree.fromstring(interval_chart("title", rows, {"before": "b", "after": "a"}, axis="share"))
    rings = [element for element in root.iter(f"{SVG}circle") if element.get("cx")]
    assert len(rings) == 2 + 2  # the legend's and the row's
    before, after = (float(ring.get("cx", "")) for ring in rings[2:])
    assert before > after
    bars = [line for line in root.iter(f"{SVG}line") if line.get("stroke-width") == "2"]
    assert len(bars) == 1  # a figure without an interval has no bar
    assert float(bars[0].get("x1", "")) < before < float(bars[0].get("x2", ""))


def test_a_limit_is_a_bracket_at_its_place_that_opens_to_the_allowed_side() -> None:
    limits = [Limit(0.2, "low", counts=True), Limit(0.6, "high", counts=False)]
    rows = [Row("a row", {"after": figure(0.5)}, limits)]
    root = ElementTree.fromstring(interval_chart("title", rows, {"after": "a"}, axis="share"))
    lines = [line.attrib for line in root.iter(f"{SVG}line") if line.get("stroke-width") == "1.4"]
    uprights = [line for line in lines if line["x1"] == line["x2"]]
    legend, drawn = uprights[:2], uprights[2:]
    assert [line.get("stroke-dasharray") for line in legend] == [None, "2 2"]
    low, high = drawn
    dot = next(float(circle.get("cx", "")) for circle in list(root.iter(f"{SVG}circle"))[1:])
    assert float(low["x1"]) < dot < float(high["x1"])
    hooks = [line for line in lines if line["y1"] == line["y2"] and line["x1"] in (low["x1"], high["x1"])]
    assert all((float(hook["x2"]) > float(hook["x1"])) is (hook["x1"] == low["x1"]) for hook in hooks)
    assert len(hooks) == 4


def test_a_limit_beyond_the_figures_widens_the_scale() -> None:
    rows = [Row("a row", {"after": figure(0.5)}, [Limit(4.0, "high", counts=True)])]
    assert ">4<" in interval_chart("title", rows, {"after": "a"}, axis="share")


def test_a_long_label_has_two_lines() -> None:
    rows = [Row("text that the model had not seen before the job", {"after": figure(0.5)})]
    root = ElementTree.fromstring(interval_chart("title", rows, {"after": "a"}, axis="share"))
    texts = [text.text for text in root.iter(f"{SVG}text")]
    assert {"text that the model had", "not seen before the job"} <= set(texts)


def test_names_are_escaped() -> None:
    rows = [Row("<script>alert(1)</script>", {"after": figure(0.5)})]
    svg = interval_chart("</title><b>", rows, {"after": "&"}, axis="<i>")
    assert "<script>" not in svg
    assert "<b>" not in svg
    texts = [text.text for text in ElementTree.fromstring(svg).iter(f"{SVG}text")]
    assert "<script>alert(1)</script>" in texts


def test_a_curve_chart_has_a_line_and_a_marker_for_each_point() -> None:
    svg = curve_chart(
        "t", {"after": [(0, 50.0), (5, 10.0), (10, 2.0)]}, {"after": "a"}, across="x", upwards="y", log=True
    )
    root = ElementTree.fromstring(svg)
    (line,) = root.iter(f"{SVG}polyline")
    heights = [float(point.split(",")[1]) for point in line.get("points", "").split()]
    assert heights == sorted(heights)  # a figure that falls moves down, where y grows
    assert len(list(root.iter(f"{SVG}circle"))) == 1 + 3


def test_the_limit_of_a_curve_is_drawn_below_it() -> None:
    curve = [(0.0, 50.0), (10.0, 30.0)]
    limit = [(step, value / 2) for step, value in curve]
    svg = curve_chart("t", {"after": curve}, {"after": "a"}, across="x", upwards="y", log=True, limit=limit)
    root = ElementTree.fromstring(svg)
    (_, dashed) = [line for line in root.iter(f"{SVG}line") if line.get("stroke-dasharray") == "7 4"]
    (line,) = root.iter(f"{SVG}polyline")
    first, last = (float(point.split(",")[1]) for point in line.get("points", "").split())
    assert float(dashed.get("y1", "")) > first
    assert float(dashed.get("y2", "")) > last
    assert "limit" in [text.text for text in root.iter(f"{SVG}text")]


def test_a_curve_of_one_value_is_drawn() -> None:
    assert "polyline" in curve_chart("t", {"after": [(5, 40.0)]}, {"after": "a"}, across="x", upwards="y", log=True)
    assert "polyline" in curve_chart("t", {"after": [(5, 0.0)]}, {"after": "a"}, across="x", upwards="y", log=True)


def test_roc_curves_have_a_square_for_each_attack() -> None:
    panels = [Panel(f"attack {number}", {"after": [(0.0, 0.0), (1.0, 1.0)]}) for number in range(4)]
    root = ElementTree.fromstring(roc_chart("t", panels, {"after": "a"}))
    assert len(list(root.iter(f"{SVG}polyline"))) == 4
    titles = [text.text for text in root.iter(f"{SVG}text") if text.get("font-weight") == "bold"]
    assert titles == ["attack 0", "attack 1", "attack 2", "attack 3"]
