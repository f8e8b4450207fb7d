"""Pictures of figures with their intervals: a row for each subject, a sign for each model."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from api.reports.charts.scale import Scale, linear, logarithmic, tick_text
from api.reports.charts.svg import FAINT, GRID, STYLES, Drawing, Series
from core.schema.evaluation import Figure

WIDTH, LABELS, RIGHT = 720.0, 236.0, 16.0
LINE, GAP = 9.5, 7.0
HEAD, FOOT = 30.0, 34.0


@dataclass(frozen=True)
class Row:
    """The figures of one subject, by series."""

    label: str
    figures: Mapping[Series, Figure]


def interval_chart(
    title: str,
    rows: Sequence[Row],
    labels: Mapping[Series, str],
    *,
    axis: str,
    log: bool = False,
    at_least: tuple[float, float] = (0.0, 1.0),
    guide: float | None = None,
) -> str:
    """Draws the rows below each other on one scale; `guide` is a value that a line marks, such as that of guessing."""
    shown = [series for series in labels if any(series in row.figures for row in rows)]
    heights = [LINE * len(row.figures) + GAP for row in rows]
    height = HEAD + sum(heights) + FOOT
    drawing = Drawing(WIDTH, height, title)
    drawing.legend({series: labels[series] for series in shown}, top=12, left=4)
    scale = _scale(rows, log=log, at_least=at_least)
    bottom = height - FOOT
    for tick in scale.ticks():
        x = scale.place(tick)
        drawing.line((x, HEAD - 6), (x, bottom), GRID)
        drawing.text((x, bottom + 14), tick_text(tick), anchor="middle", size=10, color=FAINT)
    if guide is not None:
        x = scale.place(guide)
        drawing.line((x, HEAD - 6), (x, bottom), FAINT, width=1.4, dashes="4 3")
    drawing.text(((LABELS + WIDTH - RIGHT) / 2, height - 4), axis, anchor="middle", size=11, color=FAINT)
    top = HEAD
    for row, row_height in zip(rows, heights, strict=True):
        _draw_row(drawing, row, shown, scale, top, row_height)
        top += row_height
    return drawing.svg()


def _draw_row(drawing: Drawing, row: Row, shown: Sequence[Series], scale: Scale, top: float, height: float) -> None:
    present = [series for series in shown if series in row.figures]
    drawing.text((LABELS - 12, top + (height - GAP) / 2 + 4), row.label, anchor="end")
    for number, series in enumerate(present):
        figure, style, y = row.figures[series], STYLES[series], top + LINE * (number + 0.5)
        if figure.low is not None and figure.high is not None:
            low, high = scale.place(figure.low), scale.place(figure.high)
            drawing.line((low, y), (high, y), style.color, width=2)
            for end in (low, high):
                drawing.line((end, y - 3), (end, y + 3), style.color)
        drawing.marker((scale.place(figure.value), y), style)


def _scale(rows: Sequence[Row], *, log: bool, at_least: tuple[float, float]) -> Scale:
    figures = [figure for row in rows for figure in row.figures.values()]
    values = [value for figure in figures for value in (figure.value, figure.low, figure.high) if value is not None]
    if log:
        return logarithmic([value for value in values if value > 0] or [1.0], LABELS, WIDTH - RIGHT)
    return linear(values, LABELS, WIDTH - RIGHT, at_least=at_least)
