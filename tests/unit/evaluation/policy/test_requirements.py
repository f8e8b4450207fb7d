"""The measurements that a policy requires, and the parameters that a request may not weaken."""

from typing import Any

import pytest

from core.evaluation.measurements import MEASUREMENTS, resolve_measurements
from core.evaluation.policy.requirements import (
    choice_name,
    measurements_of,
    required_measurements,
    unmet_requirements,
    weaker_parameters,
)
from core.schema import figure_names
from core.schema.default_policy import DEFAULT_POLICY
from core.schema.evaluation import MeasurementChoice
from core.schema.policies import Bound, Policy


def bound(**target: Any) -> Bound:
    return Bound.model_validate({"name": "a", "high": 1.0, **target})


def test_every_figure_of_a_bound_is_produced_by_a_measurement() -> None:
    bounds = [bound(set=data_set, figure=name) for name, sets in figure_names.SET_FIGURES.items() for data_set in sets]
    bounds += [bound(attack=name) for name in figure_names.ATTACKS]
    bounds += [bound(across=name) for name in figure_names.ACROSS_FIGURES]
    bounds += [bound(curve=name, against="before") for name in figure_names.CURVES]
    bounds += [bound(set="forget", figure="perplexity", variant=name) for name in figure_names.VARIANTS]
    for figure_bound in bounds:
        names = measurements_of(figure_bound)
        assert set(names) <= set(MEASUREMENTS)
        figure = figure_bound.figure or figure_bound.across
        measurement = MEASUREMENTS[names[0]]
        assert (
            figure is None
            or figure_bound.variant
            or figure in measurement.summary
            or figure.startswith(f"{measurement.name.removesuffix('_retain')}_")
        )


@pytest.mark.parametrize(
    ("target", "names"),
    [
        ({"attack": "loss"}, ("membership", "baseline")),
        ({"attack": "reference"}, ("reference_attack", "baseline")),
        ({"set": "retain", "figure": "perplexity", "against": "before"}, ("likelihood", "change")),
        ({"set": "forget", "figure": "perplexity", "against": "before"}, ("likelihood",)),
        ({"set": "retain", "figure": "verbatim_recall"}, ("verbatim_retain",)),
        ({"set": "unseen", "figure": "verbatim_recall"}, ("verbatim",)),
        ({"set": "forget", "figure": "exposure_p"}, ("exposure",)),
        ({"across": "privleak_min_k_20"}, ("privleak",)),
        ({"across": "relearned_half_steps"}, ("relearned",)),
    ],
)
def test_the_measurements_that_a_bound_requires(target: dict[str, Any], names: tuple[str, ...]) -> None:
    assert measurements_of(bound(**target)) == names


def test_the_default_policy_requires_only_default_measurements_and_relearning_with_a_retrained_model() -> None:
    standard = resolve_measurements(["standard"])
    assert unmet_requirements(standard, DEFAULT_POLICY, retrained=False) == []
    assert unmet_requirements(standard, DEFAULT_POLICY, retrained=True) == []
    likelihood = resolve_measurements(["likelihood"])
    alone = unmet_requirements(likelihood, DEFAULT_POLICY, retrained=False)
    others = {
        "membership",
        "baseline",
        "exposure",
        "verbatim",
        "cloze",
        "leak_at_k",
        "quantized",
        "change",
        "previously_forgotten",
    }
    assert set(alone) == others
    assert set(unmet_requirements(likelihood, DEFAULT_POLICY, retrained=True)) == {*others, "relearned"}


def test_bounds_on_benchmarks_require_their_tasks() -> None:
    bounds = [bound(name=name, benchmark=name, figure="acc") for name in ("b", "a")]
    policy = Policy(name="a", bounds=[*bounds, bound(name="c", set="forget", figure="cloze")])
    (tasks,) = [
        choice for choice in required_measurements(policy, retrained=False) if choice_name(choice) == "benchmarks"
    ]
    assert resolve_measurements([tasks])[0].model_dump()["tasks"] == ["a", "b"]


@pytest.mark.parametrize(
    ("name", "parameters", "weaker"),
    [
        ("cloze", {"samples": 3}, ["samples"]),
        ("cloze", {"samples": 5, "records": 1, "seconds": 1}, []),
        ("membership", {"judged": 1}, ["judged"]),
        ("membership", {"records": 20}, ["records"]),
        ("likelihood", {"records": 1}, ["records"]),
        ("likelihood", {}, []),
        ("quantized", {"group_size": 32}, ["group_size"]),
        ("relearned", {"learning_rate": 1e-9, "steps": 1}, ["steps", "learning_rate"]),
        ("relearned", {}, []),
        ("relearned", {"attacks": ["forget", "sgd"]}, []),
        ("relearned", {"attacks": ["sgd"]}, ["attacks"]),
        ("relearned", {"every": 1}, []),
        ("relearned", {"steps": 50, "every": 50}, ["every"]),
        ("likelihood", {"only": ["retain"]}, ["only"]),
    ],
)
def test_parameters_that_weaken_a_measurement_are_named(
    name: str, parameters: dict[str, Any], weaker: list[str]
) -> None:
    (measurement,) = resolve_measurements([MeasurementChoice.model_validate({"name": name, **parameters})])
    assert weaker_parameters(measurement) == weaker
