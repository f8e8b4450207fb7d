"""The plan of measuring: what is made cheaper, in which order, and what stays as the request names it."""

from dataclasses import replace

import pytest

from core.evaluation.measurement import Measurement
from core.evaluation.measurements import resolve_measurements
from core.preflight.flops import flops_per_token, training_flops
from core.preflight.measuring_cost import (
    ALWAYS_AFFORDED,
    measuring_tokens,
    planned_measurements,
    total_measured_tokens,
)
from core.preflight.workload import Workload
from core.schema.evaluation import MeasurementChoice
from tests.unit.preflight.workloads import dry_run, workload

STANDARD = tuple(resolve_measurements(["standard"]))


def large(records: int, *, epochs: int = 5, measurements: tuple[Measurement, ...] = STANDARD) -> Workload:
    """A job of so many records of 75 tokens on a model of more than a billion weights."""
    job = workload(records=records, length=75, epochs=epochs)
    return replace(
        job,
        measurements=measurements,
        sets={**job.sets, "unseen": replace(job.sets["forget"], records=40, tokens=3000)},
    )


def by_name(measurements: object) -> dict[str, Measurement]:
    return {measurement.name: measurement for measurement in measurements}  # type: ignore[attr-defined]


def test_measuring_that_costs_less_than_training_stays_as_it_is() -> None:
    job = large(200, epochs=20)
    assert total_measured_tokens(job) < training_flops(job) / flops_per_token(job.shape)
    assert list(planned_measurements(job)) == list(STANDARD)


def test_measuring_that_costs_more_is_cut_until_it_fits() -> None:
    job = large(40, epochs=5)
    planned = by_name(planned_measurements(job))
    assert planned["exposure"].model_dump()["records"] == 20
    assert planned["leak_at_k"].model_dump()["samples"] == 200  # the bound on leaks needs them all
    limit = training_flops(job) / flops_per_token(job.shape)
    unlimited = job.measured_models * sum(tokens for _, tokens in measuring_tokens(dry_run(job, measurements=STANDARD)))
    assert total_measured_tokens(job) < unlimited
    assert total_measured_tokens(job) <= limit or planned["exposure"].model_dump()["control"] is False


def test_of_a_single_record_everything_that_can_be_is_cut_and_no_measurement_is_left_out() -> None:
    planned = by_name(planned_measurements(large(1, epochs=1)))
    assert list(planned) == [measurement.name for measurement in STANDARD]
    assert planned["exposure"].model_dump()["control"] is False
    assert planned["cloze"].model_dump()["samples"] == 1


def test_parameters_that_the_request_names_stay() -> None:
    named = resolve_measurements(
        ["standard", MeasurementChoice.model_validate({"name": "exposure", "records": 30, "control": True})]
    )
    planned = by_name(planned_measurements(large(1, epochs=1, measurements=tuple(named))))
    assert planned["exposure"] == by_name(named)["exposure"]
    assert planned["cloze"] != by_name(named)["cloze"]


def test_a_job_that_only_measures_is_not_cut() -> None:
    assert list(planned_measurements(dry_run(large(1), measurements=STANDARD))) == list(STANDARD)


def test_measuring_of_a_minute_is_never_cut() -> None:
    job = large(1, epochs=1)
    small = replace(job, shape=job.shape.model_copy(update={"parameters": 1_000_000}))
    tokens = small.measured_models * sum(
        tokens for _, tokens in measuring_tokens(dry_run(small, measurements=STANDARD))
    )
    assert training_flops(small) < flops_per_token(small.shape) * tokens < ALWAYS_AFFORDED
    assert list(planned_measurements(small)) == list(STANDARD)


@pytest.mark.parametrize("records", [1, 5, 40, 200])
def test_the_steps_of_each_measurement_make_it_cheaper(records: int) -> None:
    job = large(records)
    alone = {measurement.name: replace(job, measurements=(measurement,)) for measurement in STANDARD}
    for measurement in STANDARD:
        for step in measurement.cheaper:
            assert set(step) <= set(type(measurement).model_fields)
            cheaper = dry_run(alone[measurement.name], measurements=(measurement.model_copy(update=step),))
            whole = dry_run(alone[measurement.name], measurements=(measurement,))
            assert sum(t for _, t in measuring_tokens(cheaper)) <= sum(t for _, t in measuring_tokens(whole))
