"""The policy's limits on the scale of a figure, where the policy limits its difference or ratio to another figure."""

from api.reports.charts.intervals import Limit
from api.reports.charts.lines import Points
from api.reports.charts.svg import Side
from core.schema.evaluation import SetName
from core.schema.figure_names import RELEARNED_WORST, RELEARNING_CURVES
from core.schema.policies import Bound
from core.schema.report import Report, ReportBound


def limits_on_set(report: Report, name: SetName, figure: str, variant: str | None = None) -> list[Limit]:
    """Returns the limits on a figure of a set, in the model itself or in a changed copy of it."""
    wanted = (name, figure, variant)
    return [limit for judged in _judged(report) if _figure(judged.bound) == wanted for limit in _limits(judged)]


def limits_on_attack(report: Report, attack: str) -> list[Limit]:
    """Returns the limits on the AUC of an attack."""
    return [limit for judged in _judged(report) if judged.bound.attack == attack for limit in _limits(judged)]


def limit_on_curve(report: Report, curve: str) -> Points:
    """Returns the lower limit on a curve beside the retrained model's same curve; empty where there is none."""
    retrained = report.figures.retrained
    points = [] if retrained is None else retrained.curves.get(curve, [])
    bounds = [judged.bound for judged in _judged(report) if judged.bound.low is not None]
    for bound in bounds:
        whole = bound.across == RELEARNED_WORST[1] and curve in RELEARNING_CURVES
        if whole or (bound.curve == curve and bound.against == "retrained"):
            by_ratio = whole or bound.by == "ratio"
            return [(point.step, _beside(point.figure.value, bound.low or 0.0, by_ratio)) for point in points]
    return []


def _judged(report: Report) -> list[ReportBound]:
    return [] if report.verdict is None else [bound for bound in report.verdict.bounds if bound.value is not None]


def _figure(bound: Bound) -> tuple[str | None, str | None, str | None]:
    return (bound.set, bound.figure, bound.variant)


def _limits(judged: ReportBound) -> list[Limit]:
    """The limits on the figure itself, the lower one first."""
    other = None if judged.compared is None else judged.compared.value
    sides: tuple[tuple[Side, float | None], ...] = (("low", judged.limit_low), ("high", judged.limit_high))
    return [
        Limit(limit if other is None else _beside(other, limit, judged.bound.by == "ratio"), side, judged.carries)
        for side, limit in sides
        if limit is not None
    ]


def _beside(other: float, limit: float, by_ratio: bool) -> float:
    """The figure whose ratio or difference to another one is the limit."""
    return other * limit if by_ratio else other + limit
