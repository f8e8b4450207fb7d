"""A policy's bounds in words, for the terminal."""

from typing import Any

from rich.markup import escape
from rich.table import Table

from core.schema.policies import Judgement

_WIDE_TERMINAL = 120
"""Columns of a terminal that has room for descriptions."""

AGAINST = {"before": "before", "retrained": "a retrained model, or unseen text in its place"}
YARDSTICKS = {
    "before": "before",
    "retrained_model": "the retrained model",
    "unseen_text": "the model before the job, on unseen text",
    "chance": "0.5 (guessing)",
}


def figure_text(bound: dict[str, Any]) -> str:
    """Returns the name of the bounded figure: `extraction strength of forget`, `AUC of attack loss`."""
    if bound["attack"] is not None:
        return f"AUC of attack {bound['attack']}"
    if bound["set"] is None:
        return _words(bound["across"] or bound["curve"] or f"{bound['figure']} of {bound['benchmark']}")
    copy = f", {bound['variant']} copy" if bound["variant"] else ""
    return f"{_words(bound['figure'])} of {bound['set']}{copy}"


def comparison_text(bound: dict[str, Any], yardstick: str | None = None) -> str:
    """Returns the comparison that the limits are of, or an empty text; `yardstick` is a judged bound's real one."""
    if bound["against"] is None:
        return ""
    return f"{bound['by']} to {YARDSTICKS[yardstick] if yardstick else AGAINST[bound['against']]}"


def limits_text(bound: dict[str, Any]) -> str:
    """Returns the limits: `at most 0.1`, `at least 0.95`, `0.5 to 2`."""
    low, high = bound["low"], bound["high"]
    if low is None:
        return f"at most {high:g}"
    return f"at least {low:g}" if high is None else f"{low:g} to {high:g}"


def bounds_table(bounds: list[dict[str, Any]]) -> Table:
    """Returns a table with a row for each bound."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("bound", "figure", "compared", "limits", "counts from"):
        table.add_column(column, overflow="fold")
    for bound in bounds:
        least = bound["judged_from"]
        records = "1 record" if least == 1 else f"{least} records"
        table.add_row(bound["name"], figure_text(bound), comparison_text(bound), limits_text(bound), records)
    return table


def requires_text(requires: dict[str, int | None]) -> str:
    """Returns what a pass requires: `must be passed: extraction from 1 record on, membership from 20 records on`."""
    parts = [
        f"{part} from {least} record{'s' * (least > 1)} on" for part, least in requires.items() if least is not None
    ]
    return f"must be passed: {', '.join(parts) or 'no part, only what must survive'}"


def parts_text(parts: dict[str, Any]) -> str:
    """Returns the verdict on each part: `extraction passed; membership not judged (underpowered)`."""
    texts = []
    for part, judged in parts.items():
        reason = f" ({_words(judged['reason'])})" if judged["reason"] else ""
        optional = "" if judged["required"] else ", not required"
        texts.append(f"{part} {_words(judged['result'])}{reason}{optional}")
    return "; ".join(texts)


def judgement_table(judgement: Judgement, *, width: int) -> Table:
    """Returns a table with a row for each bound and its result. Bounds that have no part in the verdict are dim.

    A column for the bounded figure is added where the terminal, `width` columns wide, has room for it.
    """
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("bound", no_wrap=True)
    is_wide = width >= _WIDE_TERMINAL
    if is_wide:
        table.add_column("figure", overflow="fold")
    for column in ("value", "limits"):
        table.add_column(column, no_wrap=True)
    table.add_column("result")
    for judged in judgement.bounds:
        fields = judged.model_dump(mode="json")
        bound = fields["bound"]
        interval = "" if judged.low is None or judged.high is None else f" [{judged.low:.3g}, {judged.high:.3g}]"
        value = "" if judged.value is None else f"{judged.value:.3g}{interval}"
        limits = limits_text({"low": judged.limit_low, "high": judged.limit_high})
        reason = f" ({_words(judged.why)})" if judged.why and judged.why != judged.result else ""
        parts = (figure_text(bound), _judged_comparison_text(fields))
        description = [", ".join(part for part in parts if part)] if is_wide else []
        cells = [judged.bound.name, *description, value, limits, f"{_words(judged.result)}{reason}"]
        table.add_row(*map(escape, cells), style=None if judged.carries else "dim")
    return table


def missed_bounds(judged_bounds: list[dict[str, Any]]) -> list[str]:
    """Returns a line for each bound that counts and is not kept: name, figure, value, limits, result."""
    lines = []
    for judged in judged_bounds:
        if not judged["carries"] or judged["result"] == "passed":
            continue
        value = "" if judged["value"] is None else f" is {judged['value']:.3g}"
        if judged["low"] is not None and judged["high"] is not None:
            value += f" ({judged['low']:.3g} to {judged['high']:.3g})"
        bound = judged["bound"]
        parts = (figure_text(bound), _judged_comparison_text(judged))
        description = ", ".join(part for part in parts if part)
        limits = limits_text({"low": judged["limit_low"], "high": judged["limit_high"]})
        reason = f", {_words(judged['why'])}" if judged["why"] and judged["why"] != judged["result"] else ""
        lines.append(f"{bound['name']}: {description}{value}, wanted {limits}: {_words(judged['result'])}{reason}")
    return lines


def _judged_comparison_text(judged: dict[str, Any]) -> str:
    """The comparison of a judged bound; empty where there was no yardstick and the figure itself was judged."""
    bound, yardstick = judged["bound"], judged.get("yardstick")
    alone = bound.get("high_alone") is not None and yardstick is None and judged["value"] is not None
    return "" if alone else comparison_text(bound, yardstick)


def _words(name: str) -> str:
    return name.replace("_", " ")
