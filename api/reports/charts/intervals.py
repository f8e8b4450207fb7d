"""Pictures of figures with their intervals and limits: a row for each subject, a sign for each model."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from api.reports.charts.scale import Scale, linear, logarithmic, tick_text
from api.reports.charts.svg import FAINT, GRID, STYLES, Drawing, Series, Side
from core.schema.evaluation import Figure

WIDTH, LABELS, RIGHT = 720.0, 236.0, 16.0
LINE, GAP = 9.5, 7.0
HEAD, FOOT = 30.0, 34.0
LONGEST = 33
"""Characters of a label that fit into one line; a longer label has two."""
LABEL_LINE = 12.0


@dataclass(frozen=True)
class Limit:
    """A limit on the figure after the job; `counts` tells whether it has a part in the verdict."""

    value: float
    side: Side
    counts: bool


@dataclass(frozen=True)
class Row:
    """The figures of one subject, by series, and the limits on that after the job."""

    label: str
    figures: Mapping[Series, Figure]
    limits: Sequence[Limit] = ()

    @property
    def height(self) -> float:
        lines = max(LINE * len(self.figures), LABEL_LINE * len(_label_lines(self.label)), 14.0 if self.limits else 0.0)
        return lines + GAP


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
    height = HEAD + sum(row.height for row in rows) + FOOT
    drawing = Drawing(WIDTH, height, title)
    _draw_legend(drawing, {series: labels[series] for series in shown}, rows)
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
    for row in rows:
        _draw_row(drawing, row, shown, scale, top)
        top += row.height
    return drawing.svg()


def _draw_legend(drawing: Drawing, labels: Mapping[Series, str], rows: Sequence[Row]) -> None:
    left = drawing.legend(labels, top=12, left=4)
    counting = {limit.counts for row in rows for limit in row.limits}
    for counts, label in ((True, "limit"), (False, "limit that does not count here")):
        if counts in counting:
            drawing.bracket(left + 8, 7, 17, "high", dashed=not counts)
            left = drawing.legend_name(label, top=12, left=left)


def _draw_row(drawing: Drawing, row: Row, shown: Sequence[Series], scale: Scale, top: float) -> None:
    middle = top + (row.height - GAP) / 2
    lines = _label_lines(row.label)
    for number, line in enumerate(lines):
        y = middle + 4 + LABEL_LINE * (number - (len(lines) - 1) / 2)
        drawing.text((LABELS - 12, y), line, anchor="end")
    for limit in row.limits:
        place = scale.place(limit.value)
        drawing.bracket(place, top - 1, top + row.height - GAP + 1, limit.side, dashed=not limit.counts)
    present = [series for series in shown if series in row.figures]
    for number, series in enumerate(present):
        figure, style, y = row.figures[series], STYLES[series], middle + LINE * (number - (len(present) - 1) / 2)
        if figure.low is not None and figure.high is not None:
            low, high = scale.place(figure.low), scale.place(figure.high)
            drawing.line((low, y), (high, y), style.color, width=2)
            for end in (low, high):
                drawing.line((end, y - 3), (end, y + 3), style.color)
        drawing.marker((scale.place(figure.value), y), style)


def _label_lines(label: str) -> list[str]:
    """The label in one line, or in two that are broken near the middle."""
    if len(label) <= LONGEST or " " not in label:
        return [label]
    spaces = [place for place, letter in enumerate(label) if letter == " "]
    middle = min(spaces, key=lambda place: abs(place - len(label) / 2))
    return [label[:middle], label[middle + 1 :]]


def _scale(rows: Sequence[Row], *, log: bool, at_least: tuple[float, float]) -> Scale:
    figures = [figure for row in rows for figure in row.figures.values()]
    values = [value for figure in figures for value in (figure.value, figure.low, figure.high) if value is not None]
    values += [limit.value for row in rows for limit in row.limits]
    if log:
        return logarithmic([value for value in values if value > 0] or [1.0], LABELS, WIDTH - RIGHT)
    return linear(values, LABELS, WIDTH - RIGHT, at_least=at_least)
