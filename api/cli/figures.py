"""Measurements on the terminal: tables that line up, every figure beside its interval."""

from collections.abc import Iterator, Mapping, Sequence

from rich.console import Console
from rich.table import Table

from core.schema.evaluation import Attack, CutShort, Figure, MeasurementResult, SetName, StepFigure

_NAME, _CELL = 26, 30
"""What a name and a figure with its interval take at most, in characters."""


def print_figures(found: MeasurementResult, console: Console) -> None:
    """All that was found, each kind in a table of its own; what is not there takes no line."""
    for table in _tables(found, console.width):
        console.print(table)
        console.print()
    for cut in found.cut_short:
        console.print(f"cut short: {_cut(cut)}", soft_wrap=True)
    for warning in found.warnings:
        console.print(f"[yellow]warning:[/yellow] {warning}", soft_wrap=True)


def print_table(title: str, values: Mapping[str, float], console: Console) -> None:
    """Names and numbers, as another benchmark's table has them."""
    table = _table(title, "")
    for name, value in values.items():
        table.add_row(name, number_text(value))
    console.print(table)


def figure_text(figure: Figure) -> str:
    """`value [low, high]`, or the value alone where it has no interval."""
    if figure.low is None or figure.high is None:
        return number_text(figure.value)
    return f"{number_text(figure.value)} [{number_text(figure.low)}, {number_text(figure.high)}]"


def number_text(value: float) -> str:
    return f"{value:.4g}"


def _tables(found: MeasurementResult, width: int) -> Iterator[Table]:
    yield from _of_sets("", found.sets, width)
    for name, sets in found.variants.items():
        yield from _of_sets(name, sets, width)
    if found.attacks:
        yield _of_attacks(found.attacks)
    if found.across:
        yield _of_names("across sets", found.across, found.notes)
    for name, places in found.curves.items():
        yield _of_curve(name, places)
    for task, metrics in found.benchmarks.items():
        yield _of_names(task, metrics)


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for number_of, column in enumerate(columns):
        table.add_column(column, no_wrap=True, justify="left" if number_of == 0 else "right")
    return table


def _of_sets(title: str, sets: Mapping[SetName, Mapping[str, Figure]], width: int) -> Iterator[Table]:
    """A row a figure, a column a set; as many sets beside each other as the terminal has room for."""
    names = [name for name, figures in sets.items() if figures]
    beside = max(1, (width - _NAME) // _CELL)
    for first in range(0, len(names), beside):
        some = names[first : first + beside]
        table = _table(title, *(f"{name} ({_records(sets[name])})" for name in some))
        rows = list(dict.fromkeys(figure for name in some for figure in sets[name]))
        for row in rows:
            cells = (sets[name].get(row) for name in some)
            table.add_row(row, *("" if figure is None else figure_text(figure) for figure in cells))
        yield table


def _of_attacks(attacks: Mapping[str, Attack]) -> Table:
    table = _table("attack", "AUC", "TPR at 1 % FPR", "TPR at 5 % FPR")
    for name, attack in attacks.items():
        table.add_row(name, *map(figure_text, (attack.auc, attack.tpr_at_1_fpr, attack.tpr_at_5_fpr)))
    return table


def _of_names(title: str, figures: Mapping[str, Figure], notes: Mapping[str, str] | None = None) -> Table:
    """`notes` stand beside the figures that have one."""
    table = _table(title, "")
    if notes:
        table.add_column(overflow="fold")
    for name, figure in figures.items():
        table.add_row(name, figure_text(figure), *([notes.get(name, "")] if notes else []))
    return table


def _of_curve(name: str, places: Sequence[StepFigure]) -> Table:
    table = _table(name, "")
    for place in places:
        table.add_row(f"after {place.step} steps", figure_text(place.figure))
    return table


def _records(figures: Mapping[str, Figure]) -> int:
    return max(figure.records for figure in figures.values())


def _cut(cut: CutShort) -> str:
    why = "its time was up" if cut.reason == "seconds" else "its limit on records"
    return f"{cut.measurement}, {cut.what}: {cut.done} of {cut.of} ({why})"
