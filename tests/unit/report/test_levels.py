"""The levels of the intervals of attacks."""

from typing import Any

import pytest

from core.report.levels import attack_levels
from core.schema.evaluation import Attack, Figure, MeasurementChoice, Measurements
from core.schema.report import ReportFigures

AUC = Figure(value=0.6, low=0.5, high=0.7, records=40)


def figures(*choices: dict[str, Any], joint: tuple[float, float] | None = (0.4, 0.8)) -> ReportFigures:
    attack = Attack(auc=AUC, tpr_at_1_fpr=AUC, tpr_at_5_fpr=AUC, roc=[], joint=joint)
    attacks = dict.fromkeys(("loss", "gradnorm"), attack)
    after = Measurements(attacks=attacks, seconds=1.0, model_digest="0" * 64)
    measure = ["standard", *(MeasurementChoice.model_validate(choice) for choice in choices)]
    return ReportFigures(measure=measure, before=None, after=after, retrained=None)


def test_five_attacks_are_judged_together_by_default() -> None:
    assert attack_levels(figures()) == pytest.approx({"loss": 0.99, "gradnorm": 0.99})


def test_a_measurement_may_judge_another_number_of_attacks() -> None:
    levels = attack_levels(figures({"name": "membership", "judged": 10}, {"name": "gradnorm", "judged": 1}))
    assert levels == pytest.approx({"loss": 0.995, "gradnorm": 0.95})


def test_an_attack_without_a_joint_interval_has_no_other_level() -> None:
    assert attack_levels(figures(joint=None)) == {}
