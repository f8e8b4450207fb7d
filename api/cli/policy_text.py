"""A policy's bounds in words, for the terminal."""

from typing import Any

from rich.markup import escape
from rich.table import Table

from core.schema.policies import Judgement

_WIDE = 120
"""Columns of a terminal that has room for words."""

AGAINST = {"before": "before", "retrained": "a retrained model, or unseen text in its place"}
YARDSTICKS = {
    "before": "before",
    "retrained_model": "the retrained model",
    "unseen_text": "the original on unseen text",
    "chance": "0.5 (guessing)",
}


def figure_text(bound: dict[str, Any]) -> str:
    """What the bound is about: `extraction strength of forget`, `AUC of attack loss`."""
    if bound["attack"] is not None:
        return f"AUC of attack {bound['attack']}"
    if bound["set"] is None:
        return _words(bound["across"] or bound["curve"] or f"{bound['figure']} of {bound['benchmark']}")
    copy = f", {bound['variant']} copy" if bound["variant"] else ""
    return f"{_words(bound['figure'])} of {bound['set']}{copy}"


def comparison_text(bound: dict[str, Any], yardstick: str | None = None) -> str:
    """Says what the limits are of; `yardstick` is what a judged bound was held against in truth."""
    if bound["against"] is None:
        return ""
    return f"{bound['by']} to {YARDSTICKS[yardstick] if yardstick else AGAINST[bound['against']]}"


def limits_text(bound: dict[str, Any]) -> str:
    low, high = bound["low"], bound["high"]
    if low is None:
        return f"at most {high:g}"
    return f"at least {low:g}" if high is None else f"{low:g} to {high:g}"


def bounds_table(bounds: list[dict[str, Any]]) -> Table:
    """A row for each bound."""
    made = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("bound", "figure", "compared", "limits", "counts from"):
        made.add_column(column, overflow="fold")
    for bound in bounds:
        least = bound["judged_from"]
        records = "1 record" if least == 1 else f"{least} records"
        made.add_row(bound["name"], figure_text(bound), comparison_text(bound), limits_text(bound), records)
    return made


def judgement_table(judgement: Judgement, *, width: int) -> Table:
    """A row for each bound, and how it was kept; what it is about only where the terminal has room for it. Those that
    have no part in the verdict are dim."""
    made = Table(box=None, header_style="bold", pad_edge=False)
    made.add_column("bound", no_wrap=True)
    wide = width >= _WIDE
    if wide:
        made.add_column("figure", overflow="fold")
    for column in ("value", "limits"):
        made.add_column(column, no_wrap=True)
    made.add_column("result")
    for one in judgement.bounds:
        bound = one.bound.model_dump(mode="json")
        ends = "" if one.low is None or one.high is None else f" [{one.low:.3g}, {one.high:.3g}]"
        value = "" if one.value is None else f"{one.value:.3g}{ends}"
        limit = limits_text({"low": one.limit_low, "high": one.limit_high})
        why = f" ({_words(one.why)})" if one.why and one.why != one.result else ""
        about = (
            [", ".join(part for part in (figure_text(bound), comparison_text(bound, one.yardstick)) if part)]
            if wide
            else []
        )
        cells = [one.bound.name, *about, value, limit, f"{_words(one.result)}{why}"]
        made.add_row(*map(escape, cells), style=None if one.carries else "dim")
    return made


def missed_bounds(bounds: list[dict[str, Any]]) -> list[str]:
    """Those that count and are not kept, a line each: what it is about, its value, its limits, how it came out."""
    lines = []
    for one in bounds:
        if not one["carries"] or one["result"] == "passed":
            continue
        value = "" if one["value"] is None else f" is {one['value']:.3g}"
        if one["low"] is not None and one["high"] is not None:
            value += f" ({one['low']:.3g} to {one['high']:.3g})"
        against = comparison_text(one["bound"], one.get("yardstick"))
        what = ", ".join(part for part in (figure_text(one["bound"]), against) if part)
        limit = limits_text({"low": one["limit_low"], "high": one["limit_high"]})
        why = f", {_words(one['why'])}" if one["why"] and one["why"] != one["result"] else ""
        lines.append(f"{one['bound']['name']}: {what}{value}, wanted {limit}: {_words(one['result'])}{why}")
    return lines


def _words(name: str) -> str:
    return name.replace("_", " ")
