"""A policy's bounds in words, for the terminal."""

from typing import Any

from rich.table import Table

from core.schema.policies import Judgement

AGAINST = {"before": "before", "retrained": "a retrained model"}


def figure(bound: dict[str, Any]) -> str:
    """What the bound is about: `extraction strength of forget`, `AUC of attack loss`."""
    if bound["attack"] is not None:
        return f"AUC of attack {bound['attack']}"
    if bound["set"] is None:
        return _words(bound["across"] or bound["curve"] or f"{bound['figure']} of {bound['benchmark']}")
    copy = f", {bound['variant']} copy" if bound["variant"] else ""
    return f"{_words(bound['figure'])} of {bound['set']}{copy}"


def compared(bound: dict[str, Any]) -> str:
    """What the limits are of."""
    return "" if bound["against"] is None else f"{bound['by']} to {AGAINST[bound['against']]}"


def limits(bound: dict[str, Any]) -> str:
    low, high = bound["low"], bound["high"]
    if low is None:
        return f"at most {high:g}"
    return f"at least {low:g}" if high is None else f"{low:g} to {high:g}"


def table(bounds: list[dict[str, Any]]) -> Table:
    """A row for each bound."""
    made = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("bound", "figure", "compared", "limits", "counts from"):
        made.add_column(column, overflow="fold")
    for bound in bounds:
        least = bound["judged_from"]
        records = "1 record" if least == 1 else f"{least} records"
        made.add_row(bound["name"], figure(bound), compared(bound), limits(bound), records)
    return made


def judged(judgement: Judgement) -> Table:
    """A row for each bound, and how it was kept."""
    made = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("bound", "figure", "value", "limits", "result"):
        made.add_column(column, overflow="fold")
    for one in judgement.bounds:
        bound = one.bound.model_dump(mode="json")
        ends = "" if one.low is None or one.high is None else f" [{one.low:.4g}, {one.high:.4g}]"
        value = "" if one.value is None else f"{one.value:.4g}{ends}"
        limit = limits({"low": one.limit_low, "high": one.limit_high}) if one.limit_low != one.limit_high else ""
        why = f" ({_words(one.why)})" if one.why else ""
        what = ", ".join(part for part in (figure(bound), compared(bound)) if part)
        made.add_row(one.bound.name, what, value, limit, f"{_words(one.result)}{why}")
    return made


def missed(bounds: list[dict[str, Any]]) -> list[str]:
    """Those that count and are not kept, a line each: what it is about, its value, its limits, how it came out."""
    lines = []
    for one in bounds:
        if not one["carries"] or one["result"] == "passed":
            continue
        value = "" if one["value"] is None else f" is {one['value']:.3g}"
        if one["low"] is not None and one["high"] is not None:
            value += f" ({one['low']:.3g} to {one['high']:.3g})"
        what = ", ".join(part for part in (figure(one["bound"]), compared(one["bound"])) if part)
        limit = limits({"low": one["limit_low"], "high": one["limit_high"]})
        why = f", {_words(one['why'])}" if one["why"] and one["why"] != one["result"] else ""
        lines.append(f"{one['bound']['name']}: {what}{value}, wanted {limit}: {_words(one['result'])}{why}")
    return lines


def _words(name: str) -> str:
    return name.replace("_", " ")
