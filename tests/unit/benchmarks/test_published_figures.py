"""The default policy by the figures that `unlearn bench methods` wrote down, of models that were trained for real.

A change to the policy, or to how it is judged, that lets a model pass which knows its forget set, or fails one that was
retrained without it, is seen here without training anything.
"""

import csv
from collections import defaultdict
from pathlib import Path

import pytest

from benchmarks.results import ORIGINAL, RETRAINED
from core.evaluation.policy.verdict import judge
from core.schema.default_policy import DEFAULT_POLICY
from core.schema.evaluation import Attack, Figure, Measurements, StepFigure
from core.schema.policies import Judgement

PUBLISHED = Path(__file__).parents[3] / "docs" / "methods-figures.csv"


def number(text: str) -> float | None:
    return float(text) if text else None


def published() -> dict[tuple[str, int], dict[str, Measurements]]:
    """Returns the published measurements by data and seed, and by row."""
    measurements: dict[tuple[str, int], dict[str, Measurements]] = defaultdict(dict)
    with PUBLISHED.open(encoding="utf-8", newline="") as file:
        for line in csv.DictReader(file):
            rows = measurements[line["data"], int(line["seed"])]
            row = rows.setdefault(line["row"], Measurements(seconds=0.0, model_digest=line["row"]))
            figure = Figure(
                value=float(line["value"]),
                low=number(line["low"]),
                high=number(line["high"]),
                records=int(line["records"]),
            )
            add_figure(row, line["where"], line["figure"], figure)
    return measurements


def add_figure(measurements: Measurements, where: str, name: str, figure: Figure) -> None:
    variant, _, of = where.partition("/")
    if where == "across":
        measurements.across[name] = figure
    elif where == "curve":
        curve, _, step = name.partition("@")
        measurements.curves.setdefault(curve, []).append(StepFigure(step=int(step), figure=figure))
    elif where == "attack":
        attack, _, kind = name.rpartition(".")
        if kind == "auc":
            none = Figure(value=0.0, low=None, high=None, records=figure.records)
            measurements.attacks[attack] = Attack(auc=figure, tpr_at_1_fpr=none, tpr_at_5_fpr=none, roc=[])
        elif kind == "auc_joint":
            measurements.attacks[attack].joint = (figure.low or 0.0, figure.high or 0.0)
    elif variant in ("int4", "int8"):
        measurements.variants.setdefault(variant, {}).setdefault(of, {})[name] = figure  # type: ignore[call-overload]
    elif where in ("forget", "retain", "unseen", "general", "probes", "protected"):
        measurements.sets.setdefault(where, {})[name] = figure


def judged(rows: dict[str, Measurements], row: str) -> Judgement:
    return judge(DEFAULT_POLICY, before=rows[ORIGINAL], after=rows[row])


PLACES = published()


@pytest.mark.parametrize("place", PLACES)
def test_a_model_that_knows_the_forget_set_by_heart_fails(place: tuple[str, int]) -> None:
    assert judged(PLACES[place], ORIGINAL).verdict == "failed"


@pytest.mark.parametrize("place", PLACES)
def test_a_model_that_was_retrained_without_it_does_not_fail(place: tuple[str, int]) -> None:
    judgement = judged(PLACES[place], RETRAINED)
    assert [bound.bound.name for bound in judgement.bounds if bound.carries and bound.result == "failed"] == []


@pytest.mark.parametrize("place", [place for place in PLACES if place[0] == "demo"])
def test_on_two_hundred_records_it_passes(place: tuple[str, int]) -> None:
    assert judged(PLACES[place], RETRAINED).verdict == "passed"
