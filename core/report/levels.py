"""The confidence levels of the intervals that a verdict rests on."""

from collections.abc import Mapping

from core.evaluation.stats.auc import joint_level
from core.schema.evaluation import JUDGED_ATTACKS
from core.schema.report import ReportFigures

SINGLE_LEVEL = 0.95
"""The level of every interval that stands by itself."""

_MEASURED_BY = {"gradnorm": "gradnorm", "reference": "reference_attack"}
"""The measurement that makes an attack; all others are made by `membership`."""


def attack_levels(figures: ReportFigures) -> Mapping[str, float]:
    """Returns the level of each attack's joint interval, by the attack's name. An attack without one is left out.

    So many attacks as the measurement's parameter `judged` says hold together in 95 % of cases.
    """
    attacks = {} if figures.after is None else figures.after.attacks
    return {name: joint_level(_judged(name, figures)) for name, attack in attacks.items() if attack.joint is not None}


def _judged(attack: str, figures: ReportFigures) -> int:
    measurement = _MEASURED_BY.get(attack, "membership")
    chosen = [
        choice.parameters["judged"]
        for choice in figures.measure
        if not isinstance(choice, str) and choice.name == measurement and "judged" in choice.parameters
    ]
    return int(chosen[-1]) if chosen else len(JUDGED_ATTACKS)
