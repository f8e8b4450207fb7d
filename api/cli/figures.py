"""Measurements on the terminal: aligned tables, every figure beside its interval."""

from collections.abc import Iterator, Mapping, Sequence

from rich.console import Console
from rich.table import Table

from core.schema.evaluation import Attack, CutShort, Figure, MeasurementResult, SetName, StepFigure
from core.schema.figure_names import CURVE_POINTS

_NAME_WIDTH, _CELL_WIDTH = 26, 30
"""Characters of the widest name, and of the widest figure with its interval."""


def print_figures(result: MeasurementResult, console: Console) -> None:
    """Prints all figures, each kind in a table of its own; a kind without figures takes no line."""
    for table in _tables(result, console.width):
        console.print(table)
        console.print()
    for cut in result.cut_short:
        console.print(f"cut short: {_cut_text(cut)}", soft_wrap=True)
    for warning in result.warnings:
        console.print(f"[yellow]warning:[/yellow] {warning}", soft_wrap=True)


def print_table(title: str, values: Mapping[str, float], console: Console) -> None:
    """Prints names and numbers, such as another benchmark's table."""
    table = _table(title, "")
    for name, value in values.items():
        table.add_row(name, number_text(value))
    console.print(table)


def figure_text(figure: Figure) -> str:
    """Returns `value [low, high]`, or the value alone where it has no interval."""
    if figure.low is None or figure.high is None:
        return number_text(figure.value)
    return f"{number_text(figure.value)} [{number_text(figure.low)}, {number_text(figure.high)}]"


def number_text(value: float) -> str:
    """Returns the number with four significant digits."""
    return f"{value:.4g}"


def _tables(result: MeasurementResult, width: int) -> Iterator[Table]:
    yield from _set_tables("", result.sets, width)
    for name, sets in result.variants.items():
        yield from _set_tables(name, sets, width)
    if result.attacks:
        yield _attack_table(result.attacks)
    if result.across:
        yield _named_figures_table("across sets", result.across, result.notes)
    for name, steps in result.curves.items():
        yield _curve_table(name, steps)
    for task, metrics in result.benchmarks.items():
        yield _named_figures_table(task, metrics)


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for index, column in enumerate(columns):
        table.add_column(column, no_wrap=True, justify="left" if index == 0 else "right")
    return table


def _set_tables(title: str, sets: Mapping[SetName, Mapping[str, Figure]], width: int) -> Iterator[Table]:
    """Yields tables with a row for each figure and a column for each set, as many sets as the terminal has room for."""
    names = [name for name, figures in sets.items() if figures]
    columns = max(1, (width - _NAME_WIDTH) // _CELL_WIDTH)
    for first in range(0, len(names), columns):
        shown = names[first : first + columns]
        table = _table(title, *(f"{name} ({_record_count(sets[name])})" for name in shown))
        rows = list(dict.fromkeys(figure for name in shown for figure in sets[name]))
        for row in rows:
            figures = (sets[name].get(row) for name in shown)
            table.add_row(row, *("" if figure is None else figure_text(figure) for figure in figures))
        yield table


def _attack_table(attacks: Mapping[str, Attack]) -> Table:
    table = _table("attack", "AUC", "TPR at 1 % FPR", "TPR at 5 % FPR")
    for name, attack in attacks.items():
        table.add_row(name, *map(figure_text, (attack.auc, attack.tpr_at_1_fpr, attack.tpr_at_5_fpr)))
    return table


def _named_figures_table(title: str, figures: Mapping[str, Figure], notes: Mapping[str, str] | None = None) -> Table:
    """Returns a row for each figure, with its note where `notes` has one."""
    table = _table(title, "")
    if notes:
        table.add_column(overflow="fold")
    for name, figure in figures.items():
        table.add_row(name, figure_text(figure), *([notes.get(name, "")] if notes else []))
    return table


def _curve_table(name: str, steps: Sequence[StepFigure]) -> Table:
    table = _table(name, "")
    for step in steps:
        table.add_row(CURVE_POINTS.get(name, "{}").format(step.step), figure_text(step.figure))
    return table


def _record_count(figures: Mapping[str, Figure]) -> int:
    return max(figure.records for figure in figures.values())


def _cut_text(cut: CutShort) -> str:
    reason = "its time was up" if cut.reason == "seconds" else "its limit on records"
    return f"{cut.measurement}, {cut.what}: {cut.done} of {cut.of} ({reason})"
