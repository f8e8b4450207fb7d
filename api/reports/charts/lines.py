"""Pictures of curves: a figure over steps, and the ROC curves of attacks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from api.reports.charts.scale import Scale, linear, logarithmic, tick_text
from api.reports.charts.svg import FAINT, GRID, INK, STYLES, Drawing, Series

WIDTH, HEIGHT = 720.0, 300.0
LEFT, RIGHT, TOP, BOTTOM = 64.0, 16.0, 34.0, 44.0
_LIMIT_DASHES = "7 4"
PANEL, PANEL_GAP, PANELS_IN_ROW = 190.0, 46.0, 3

Points = Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Panel:
    """The ROC curves of one attack, by series."""

    title: str
    curves: Mapping[Series, Points]


def curve_chart(
    title: str,
    curves: Mapping[Series, Points],
    labels: Mapping[Series, str],
    *,
    across: str,
    upwards: str,
    log: bool,
    limit: Points = (),
) -> str:
    """Draws one curve for each series over a common axis; `across` and `upwards` name the axes.

    `limit` is the curve that the figure after the job must stay above.
    """
    drawing = Drawing(WIDTH, HEIGHT, title)
    left = drawing.legend({series: labels[series] for series in curves}, top=12, left=4)
    if limit:
        drawing.line((left - 4, 12), (left + 12, 12), INK, width=1.4, dashes=_LIMIT_DASHES)
        drawing.legend_name("limit", top=12, left=left)
    points = [point for curve in (*curves.values(), limit) for point in curve]
    x = linear([point[0] for point in points], LEFT, WIDTH - RIGHT, at_least=(0.0, 1.0))
    values = [point[1] for point in points]
    is_log = log and min(values) > 0
    lowest, top, bottom = min(values), TOP + 14, HEIGHT - BOTTOM
    y = logarithmic(values, bottom, top) if is_log else linear(values, bottom, top, at_least=(min(0.0, lowest), 0.0))
    _draw_axes(drawing, x, y)
    drawing.text(((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 8), across, anchor="middle", color=FAINT)
    drawing.text((4, TOP + 2), upwards, color=FAINT)
    for (start, low), (end, high) in pairwise(limit):
        edges = ((x.place(start), y.place(low)), (x.place(end), y.place(high)))
        drawing.line(*edges, INK, width=1.4, dashes=_LIMIT_DASHES)
    for series, curve in curves.items():
        places = [(x.place(step), y.place(value)) for step, value in curve]
        drawing.path(places, STYLES[series], width=2)
        for place in places:
            drawing.marker(place, STYLES[series])
    return drawing.svg()


def _draw_axes(drawing: Drawing, x: Scale, y: Scale) -> None:
    for tick in y.ticks():
        drawing.line((x.start, y.place(tick)), (x.end, y.place(tick)), GRID)
        drawing.text((x.start - 6, y.place(tick) + 4), tick_text(tick), anchor="end", size=10, color=FAINT)
    for tick in x.ticks():
        drawing.line((x.place(tick), y.start), (x.place(tick), y.start + 4), FAINT)
        drawing.text((x.place(tick), y.start + 16), tick_text(tick), anchor="middle", size=10, color=FAINT)


def roc_chart(title: str, panels: Sequence[Panel], labels: Mapping[Series, str]) -> str:
    """Draws the ROC curves of each attack in a square of its own; the dashed line is guessing."""
    rows = -(-len(panels) // PANELS_IN_ROW)
    height = TOP + rows * (PANEL + 62)
    drawing = Drawing(WIDTH, height, title)
    shown = [series for series in labels if any(series in panel.curves for panel in panels)]
    drawing.legend({series: labels[series] for series in shown}, top=12, left=4)
    for number, panel in enumerate(panels):
        row, column = divmod(number, PANELS_IN_ROW)
        left = 40 + column * (PANEL + PANEL_GAP)
        top = TOP + 16 + row * (PANEL + 62)
        _draw_panel(drawing, panel, shown, left, top)
    return drawing.svg()


def _draw_panel(drawing: Drawing, panel: Panel, shown: Sequence[Series], left: float, top: float) -> None:
    x, y = Scale(0, 1, left, left + PANEL), Scale(0, 1, top + PANEL, top)
    drawing.text((left, top - 6), panel.title, bold=True)
    for tick in (0.0, 0.5, 1.0):
        drawing.line((x.start, y.place(tick)), (x.end, y.place(tick)), GRID)
        drawing.line((x.place(tick), y.start), (x.place(tick), y.end), GRID)
        drawing.text((x.start - 5, y.place(tick) + 4), f"{tick:g}", anchor="end", size=9, color=FAINT)
        drawing.text((x.place(tick), y.start + 13), f"{tick:g}", anchor="middle", size=9, color=FAINT)
    drawing.line((x.start, y.start), (x.end, y.end), INK, dashes="4 3")
    for series in shown:
        if series in panel.curves:
            drawing.path([(x.place(fpr), y.place(tpr)) for fpr, tpr in panel.curves[series]], STYLES[series], width=1.8)
    drawing.text((left + PANEL / 2, top + PANEL + 27), "share of false alarms", anchor="middle", size=9, color=FAINT)
