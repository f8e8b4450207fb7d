"""SVG elements, and the signs by which a reader tells the models apart, in black and white too."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal
from xml.etree import ElementTree

Series = Literal["before", "after", "retrained", "unseen"]
"""A model and the set that it is measured on: `unseen` is the model before the job on text that it never saw."""
Marker = Literal["ring", "dot", "diamond", "square"]
Side = Literal["low", "high"]
"""The lower or the upper limit of a range."""

NAMESPACE = "http://www.w3.org/2000/svg"
INK, FAINT, GRID = "#1f2328", "#57606a", "#d0d7de"


@dataclass(frozen=True)
class Style:
    """The marker, the colour and the dashes of a series."""

    marker: Marker
    color: str
    dashes: str | None = None


STYLES: Mapping[Series, Style] = {
    "before": Style("ring", "#8250df", "5 3"),
    "after": Style("dot", "#0550ae"),
    "retrained": Style("diamond", "#953800", "2 2"),
    "unseen": Style("square", "#57606a", "2 2"),
}


class Drawing:
    """A picture of a fixed size that scales with the page."""

    def __init__(self, width: float, height: float, title: str) -> None:
        self._root = ElementTree.Element(
            "svg",
            {"xmlns": NAMESPACE, "viewBox": f"0 0 {_number(width)} {_number(height)}", "role": "img"},
        )
        ElementTree.SubElement(self._root, "title").text = title

    def line(
        self, start: tuple[float, float], end: tuple[float, float], color: str, *, width: float = 1, dashes: str = ""
    ) -> None:
        attributes = dict(zip(("x1", "y1", "x2", "y2"), map(_number, (*start, *end)), strict=True))
        attributes |= {"stroke": color, "stroke-width": _number(width)}
        if dashes:
            attributes["stroke-dasharray"] = dashes
        ElementTree.SubElement(self._root, "line", attributes)

    def path(self, points: Sequence[tuple[float, float]], style: Style, *, width: float = 1.5) -> None:
        attributes = {
            "points": " ".join(f"{_number(x)},{_number(y)}" for x, y in points),
            "fill": "none",
            "stroke": style.color,
            "stroke-width": _number(width),
        }
        if style.dashes:
            attributes["stroke-dasharray"] = style.dashes
        ElementTree.SubElement(self._root, "polyline", attributes)

    def text(
        self,
        place: tuple[float, float],
        text: str,
        *,
        anchor: Literal["start", "middle", "end"] = "start",
        size: float = 11,
        color: str = INK,
        bold: bool = False,
    ) -> None:
        attributes = {
            "x": _number(place[0]),
            "y": _number(place[1]),
            "text-anchor": anchor,
            "font-size": _number(size),
            "font-family": "sans-serif",
            "fill": color,
        }
        if bold:
            attributes["font-weight"] = "bold"
        ElementTree.SubElement(self._root, "text", attributes).text = text

    def marker(self, place: tuple[float, float], style: Style) -> None:
        x, y = place
        outline = {"stroke": style.color, "stroke-width": "1.6", "fill": style.color}
        match style.marker:
            case "ring" | "dot":
                fill = {"fill": "#ffffff"} if style.marker == "ring" else {}
                circle = {"cx": _number(x), "cy": _number(y), "r": "3.6"}
                ElementTree.SubElement(self._root, "circle", {**circle, **outline, **fill})
            case "diamond":
                corners = f"{_number(x)},{_number(y - 4.6)} {_number(x + 4.6)},{_number(y)}"
                corners += f" {_number(x)},{_number(y + 4.6)} {_number(x - 4.6)},{_number(y)}"
                ElementTree.SubElement(self._root, "polygon", {"points": corners, **outline})
            case "square":
                box = {"x": _number(x - 3.2), "y": _number(y - 3.2), "width": "6.4", "height": "6.4"}
                ElementTree.SubElement(self._root, "rect", {**box, **outline, "fill": "#ffffff"})

    def bracket(self, x: float, top: float, bottom: float, side: Side, *, dashed: bool = False) -> None:
        """Draws a limit: a bracket that opens to the allowed side, upwards of a lower and downwards of an upper one."""
        dashes = "2 2" if dashed else ""
        self.line((x, top), (x, bottom), INK, width=1.4, dashes=dashes)
        for y in (top, bottom):
            self.line((x, y), (x + (4 if side == "low" else -4), y), INK, width=1.4)

    def legend(self, labels: Mapping[Series, str], *, top: float, left: float) -> float:
        """Draws each series with its name in one row; returns where the next name would begin."""
        x = left
        for series, label in labels.items():
            self.marker((x + 5, top), STYLES[series])
            x = self.legend_name(label, top=top, left=x)
        return x

    def legend_name(self, label: str, *, top: float, left: float) -> float:
        """Writes a name beside a sign at `left`; returns where the next name would begin."""
        self.text((left + 15, top + 4), label, size=11)
        return left + 15 + 6.1 * len(label) + 22

    def svg(self) -> str:
        """Returns the picture as an SVG element."""
        return ElementTree.tostring(self._root, encoding="unicode")


def _number(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")
