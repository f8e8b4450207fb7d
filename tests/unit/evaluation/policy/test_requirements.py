"""What a policy has to have measured, and what a request may not take from it."""

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


def bound(**about: Any) -> Bound:
    return Bound.model_validate({"name": "a", "high": 1.0, **about})


def test_every_figure_that_a_bound_may_be_put_on_is_some_measurements() -> None:
    bounds = [bound(set=of, figure=name) for name, sets in figure_names.SET_FIGURES.items() for of in sets]
    bounds += [bound(attack=name) for name in figure_names.ATTACKS]
    bounds += [bound(across=name) for name in figure_names.ACROSS_FIGURES]
    bounds += [bound(curve=name, against="before") for name in figure_names.CURVES]
    bounds += [bound(set="forget", figure="perplexity", variant=name) for name in figure_names.VARIANTS]
    for one in bounds:
        found = measurements_of(one)
        assert set(found) <= set(MEASUREMENTS)
        said = one.figure or one.across
        family = MEASUREMENTS[found[0]]
        assert (
            said is None
            or one.variant
            or said in family.summary
            or said.startswith(f"{family.name.removesuffix('_retain')}_")
        )


@pytest.mark.parametrize(
    ("about", "names"),
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
def test_a_bounds_measurements(about: dict[str, Any], names: tuple[str, ...]) -> None:
    assert measurements_of(bound(**about)) == names


def test_the_default_policy_needs_no_more_than_is_measured_by_default_but_beside_a_retrained_model() -> None:
    standard = resolve_measurements(["standard"])
    assert unmet_requirements(standard, DEFAULT_POLICY, retrained=False) == []
    assert unmet_requirements(standard, DEFAULT_POLICY, retrained=True) == ["relearned"]
    alone = unmet_requirements(resolve_measurements(["likelihood"]), DEFAULT_POLICY, retrained=False)
    assert set(alone) == {"membership", "baseline", "exposure", "verbatim", "cloze", "leak_at_k", "quantized", "change"}


def test_a_benchmark_is_measured_by_its_tasks() -> None:
    bounds = [bound(name=name, benchmark=name, figure="acc") for name in ("b", "a")]
    policy = Policy(name="a", bounds=[*bounds, bound(name="c", set="forget", figure="cloze")])
    (tasks,) = [one for one in required_measurements(policy, retrained=False) if choice_name(one) == "benchmarks"]
    assert resolve_measurements([tasks])[0].model_dump()["tasks"] == ["a", "b"]


@pytest.mark.parametrize(
    ("name", "parameters", "found"),
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
    ],
)
def test_parameters_that_would_show_less(name: str, parameters: dict[str, Any], found: list[str]) -> None:
    (one,) = resolve_measurements([MeasurementChoice.model_validate({"name": name, **parameters})])
    assert weaker_parameters(one) == found
