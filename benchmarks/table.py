"""Results as tables: for a terminal, and for a page."""

from collections.abc import Callable, Iterator

from rich import box
from rich.table import Table

from benchmarks.race import Result, Track

NONE = "–"
MEMORY = slice(5, 7)
WIDTHS = (14, 8, 8, 5, 6, 6, 6, 5, 6, 4, 5)
HEAD = ("", "tokens/s", "plain", "ratio", "in all", "MiB", "plain", "ratio", "Δ loss")


def tables(results: list[Result]) -> Iterator[Table]:
    """One for each model and length, a row for each method; all as wide. Without the device's peak: 80 columns."""
    for title, group in _groups(results):
        made = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, header_style="bold")
        made.show_edge, made.padding = False, (0, 1, 0, 0)
        for name, width in zip(_head(results), WIDTHS, strict=False):
            made.add_column(name, justify="right" if made.columns else "left", no_wrap=True, min_width=width)
        for one in group:
            made.add_row(*_cells(one, results))
        yield made


def markdown(results: list[Result]) -> str:
    lines = [_head(results), ["---", *("---:" for _ in _head(results)[1:])]]
    for title, group in _groups(results):
        lines.append([f"*{title}*", *("" for _ in _head(results)[1:])])
        for one in group:
            cells = _cells(one, results)
            in_all = [f" ({_mebibytes(track.peak)})" for track in (one.core, one.plain)]
            cells[MEMORY] = [cell + absolute for cell, absolute in zip(cells[MEMORY], in_all, strict=True)]
            lines.append(cells)
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def _head(results: list[Result]) -> list[str]:
    return [*HEAD, "MFU", "plain"] if _peak_known(results) else [*HEAD]


def _peak_known(results: list[Result]) -> bool:
    return any(one.core.peak_flops is not None for one in results)


def _groups(results: list[Result]) -> list[tuple[str, list[Result]]]:
    groups: dict[str, list[Result]] = {}
    for one in results:
        case = one.case
        title = f"{case.shape}, vocabulary {case.vocabulary:,}, {case.lengths} records, {case.precision}"
        groups.setdefault(title, []).append(one)
    return list(groups.items())


def _cells(one: Result, results: list[Result]) -> list[str]:
    def both(text: Callable[[Track], str]) -> list[str]:
        return [text(track) if track.seconds and not track.out_of_memory else NONE for track in (one.core, one.plain)]

    def ratio(value: Callable[[], float], form: str) -> str:
        return format(value(), form) if one.complete else NONE

    speeds = both(lambda track: f"{one.speed(track):,.0f}")
    speeds = [
        "OOM" if track.out_of_memory else speed for track, speed in zip((one.core, one.plain), speeds, strict=True)
    ]
    cells = [one.case.method, *speeds, ratio(one.faster, ".2f"), ratio(one.faster_in_all, ".2f")]
    cells += both(lambda track: _mebibytes(track.added))
    cells += [ratio(one.memory, ".2f"), ratio(one.loss_difference, ".0e")]
    if _peak_known(results):
        cells += both(lambda track: f"{utilised:.0%}" if (utilised := one.utilisation(track)) is not None else NONE)
    return cells


def _mebibytes(count: int) -> str:
    return f"{count / 2**20:,.0f}"
