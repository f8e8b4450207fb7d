"""Tables of results, for a terminal and for a page."""

from collections.abc import Callable, Iterator

from rich import box
from rich.table import Table

from benchmarks.race import Result, Track

NONE = "–"
MEMORY = slice(5, 7)
WIDTHS = (14, 8, 8, 5, 6, 6, 6, 5, 6, 4, 5)
HEAD = ("", "tokens/s", "plain", "ratio", "in all", "MiB", "plain", "ratio", "Δ loss")


def tables(results: list[Result]) -> Iterator[Table]:
    """Yields a table for each model and length, with a row for each method. All tables have the same width.

    Without a known peak of the device, a table has 80 columns.
    """
    for title, group in _groups(results):
        table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, header_style="bold")
        table.show_edge, table.padding = False, (0, 1, 0, 0)
        for name, width in zip(_head(results), WIDTHS, strict=False):
            table.add_column(name, justify="right" if table.columns else "left", no_wrap=True, min_width=width)
        for result in group:
            table.add_row(*_cells(result, results))
        yield table


def markdown(results: list[Result]) -> str:
    lines = [_head(results), ["---", *("---:" for _ in _head(results)[1:])]]
    for title, group in _groups(results):
        lines.append([f"*{title}*", *("" for _ in _head(results)[1:])])
        for result in group:
            cells = _cells(result, results)
            totals = [f" ({_mebibytes(track.peak)})" for track in (result.core, result.plain)]
            cells[MEMORY] = [cell + total for cell, total in zip(cells[MEMORY], totals, strict=True)]
            lines.append(cells)
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def _head(results: list[Result]) -> list[str]:
    return [*HEAD, "MFU", "plain"] if _peak_known(results) else [*HEAD]


def _peak_known(results: list[Result]) -> bool:
    return any(result.core.peak_flops is not None for result in results)


def _groups(results: list[Result]) -> list[tuple[str, list[Result]]]:
    groups: dict[str, list[Result]] = {}
    for result in results:
        case = result.case
        title = f"{case.shape}, vocabulary {case.vocabulary:,}, {case.lengths} records, {case.precision}"
        groups.setdefault(title, []).append(result)
    return list(groups.items())


def _cells(result: Result, results: list[Result]) -> list[str]:
    def pair(text: Callable[[Track], str]) -> list[str]:
        return [
            text(track) if track.seconds and not track.out_of_memory else NONE for track in (result.core, result.plain)
        ]

    def ratio(value: Callable[[], float], form: str) -> str:
        return format(value(), form) if result.complete else NONE

    speeds = pair(lambda track: f"{result.speed(track):,.0f}")
    speeds = [
        "OOM" if track.out_of_memory else speed
        for track, speed in zip((result.core, result.plain), speeds, strict=True)
    ]
    cells = [result.case.method, *speeds, ratio(result.speedup, ".2f"), ratio(result.total_speedup, ".2f")]
    cells += pair(lambda track: _mebibytes(track.added))
    cells += [ratio(result.memory_ratio, ".2f"), ratio(result.loss_difference, ".0e")]
    if _peak_known(results):
        cells += pair(
            lambda track: f"{utilization:.0%}" if (utilization := result.utilization(track)) is not None else NONE
        )
    return cells


def _mebibytes(count: int) -> str:
    return f"{count / 2**20:,.0f}"
