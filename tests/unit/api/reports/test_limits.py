"""The policy's limits on the scale of the figures that a picture shows."""

from typing import Any

import pytest

from api.reports.charts.intervals import Limit
from api.reports.sections import pictures
from api.reports.sections.limits import limit_on_curve, limits_on_attack, limits_on_set
from core.report.bounds import describe_bounds
from core.schema.default_policy import DEFAULT_POLICY
from core.schema.evaluation import Figure, Measurements, StepFigure
from core.schema.policies import JudgedBound
from core.schema.report import Report, ReportFigures, ReportVerdict

BOUNDS = {bound.name: bound for bound in DEFAULT_POLICY.bounds}


def figure(value: float) -> Figure:
    return Figure(value=value, low=value * 0.9, high=value * 1.1, records=40)


def judged(name: str, value: float | None, *, compared: float | None = None, **fields: Any) -> JudgedBound:
    bound = BOUNDS[name]
    return JudgedBound(
        bound=bound,
        part=bound.part,
        value=value,
        limit_low=bound.low,
        limit_high=bound.high,
        result="not_judged" if value is None else "passed",
        carries=fields.get("carries", True),
        compared=None if compared is None else figure(compared),
    )


def measured(**curves: tuple[float, ...]) -> Measurements:
    points = {
        f"relearned_{name}": [StepFigure(step=10 * number, figure=figure(value)) for number, value in enumerate(values)]
        for name, values in curves.items()
    }
    return Measurements(seconds=1.0, model_digest="0" * 64, curves=points)


def report(*bounds: JudgedBound, **models: Measurements) -> Report:
    described = describe_bounds(list(bounds), retrained="retrained" in models, levels={})
    of_models = {moment: models.get(moment) for moment in ("before", "after", "retrained")}
    figures = ReportFigures(measure=[], **of_models)
    return Report.model_construct(
        kind="unlearn", figures=figures, verdict=ReportVerdict.model_construct(bounds=described)
    )


def test_limits_of_differences_and_ratios_are_told_on_the_scale_of_the_figure() -> None:
    of = report(
        judged("extraction", 0.02, compared=0.01),
        judged("extraction-many", 0.02, compared=0.01, carries=False),
        judged("perplexity-far", 1.1, compared=50.0),
        judged("leak-rate", 0.01),
        judged("int4.extraction", 0.02, compared=0.03),
        judged("membership.loss", 0.02, compared=0.5),
    )
    assert limits_on_set(of, "forget", "extraction_strength") == [
        Limit(pytest.approx(0.11), "high", counts=True),
        Limit(pytest.approx(0.06), "high", counts=False),
    ]
    assert limits_on_set(of, "forget", "perplexity") == [Limit(10.0, "low", True), Limit(250.0, "high", True)]
    assert limits_on_set(of, "forget", "leak_rate_highest") == [Limit(0.05, "high", True)]
    assert limits_on_set(of, "forget", "extraction_strength", "int4") == [Limit(pytest.approx(0.13), "high", True)]
    assert limits_on_attack(of, "loss") == [
        Limit(pytest.approx(0.35), "low", True),
        Limit(pytest.approx(0.65), "high", True),
    ]


def test_a_bound_that_was_not_judged_has_no_limit_in_a_picture() -> None:
    assert limits_on_set(report(judged("leak-rate", None)), "forget", "leak_rate_highest") == []


def test_the_limit_on_relearning_is_a_part_of_the_retrained_models_curve() -> None:
    relearned = judged("relearned", 0.8)
    models = {"after": measured(forget=(40, 30)), "retrained": measured(forget=(44, 36))}
    assert limit_on_curve(report(relearned, **models), "relearned_forget") == [(0, 22), (10, 18)]
    assert limit_on_curve(report(relearned, after=models["after"]), "relearned_forget") == []
    (picture,) = pictures.relearning(report(relearned, **models))
    assert picture.caption.endswith("The dashed black curve is the policy’s limit.")


def test_unseen_text_is_drawn_beside_the_text_that_is_relearned() -> None:
    (forget, sgd) = pictures.relearning(report(after=measured(forget=(40, 30), unseen=(50, 45), sgd=(40, 38))))
    assert "after the job, on unseen text: from 50 to 45" in forget.alt
    assert forget.svg.count("polyline") == 2
    assert "such training makes all text of this kind more familiar" in forget.caption
    assert "unseen" not in sgd.alt
