"""Estimates of a job's seconds."""

from dataclasses import replace
from typing import Any

import pytest

from core.evaluation.measurements import resolve_measurements
from core.preflight import duration, flops, measuring_cost
from core.preflight.workload import SetSize, Workload
from core.schema.throughput import Throughput
from tests.unit.preflight.workloads import dry_run, llama, workload

ONE_PASS = tuple(resolve_measurements(["likelihood"]))


def finished(job: Workload, **changed: Any) -> duration.FinishedJob:
    """Returns the job as finished: 50 seconds of updates, 20 of measuring, 7 of loading and saving."""
    fields = {
        "model": "m",
        "shape": job.shape,
        "tokens": job.trained_tokens,
        "seconds": {
            "loading": 4.0 + job.shape.bytes / 500e6,
            "measuring_before": 20.0,
            "unlearning": 50.0,
            "saving": 3,
        },
        "flops": {
            "measuring_before": flops.flops_per_token(job.shape) * measuring_cost.total_measured_tokens(job),
            "unlearning": flops.training_flops(job),
        },
        "passed": {"measuring_before": measuring_cost.total_measured_tokens(job)},
    }
    return duration.FinishedJob(**{**fields, **changed})


def test_a_job_is_expected_to_take_as_long_as_the_same_job_before() -> None:
    job = replace(workload(records=10, length=100), measurements=ONE_PASS)
    assert duration.estimate_seconds(job, "m", []) is None
    seconds = 7 + 50 + 15 + 2 * duration.START_SECONDS + job.shape.bytes / 500e6  # it measures twice
    assert duration.estimate_seconds(job, "m", [finished(job)]) == pytest.approx(seconds, rel=1e-3)
    slower = finished(job, model="x", seconds={"unlearning": 5000.0})
    # jobs on the same model count, jobs on other models do not
    assert duration.estimate_seconds(job, "m", [finished(job), slower]) == pytest.approx(seconds, rel=1e-3)


def test_the_seconds_to_begin_with_do_not_grow_with_a_jobs_tokens() -> None:
    job = workload(llama(hidden=512, layers=4, heads=8, vocabulary=2000, wide=1024), records=10, length=100)
    longer = replace(job, sets={name: SetSize(10, 100 * size.tokens) for name, size in job.sets.items()})
    once, hundredfold = (duration.estimate_seconds(new, "m", [finished(job)]) for new in (job, longer))
    assert once is not None
    assert hundredfold is not None
    assert hundredfold - 7 == pytest.approx(duration.START_SECONDS + 100 * (50 - duration.START_SECONDS), rel=0.01)
    assert once - 7 == pytest.approx(50, rel=0.05)


def test_a_wider_model_reaches_more_of_the_machines_flops() -> None:
    """A tiny model's seconds, scaled by the number of weights, were eight times too many for a larger model."""
    small = workload(llama(hidden=128, layers=4, heads=8, vocabulary=2000, wide=512), records=10, length=100)
    large = workload(llama(hidden=1024, layers=16, heads=8, vocabulary=32000, wide=4096), records=10, length=100)
    seconds = duration.estimate_seconds(large, "large", [finished(small)])
    assert seconds is not None
    times = flops.training_flops(large) / flops.training_flops(small)
    narrow = (1 + duration.HALF_SPEED_WIDTH / 1024) / (1 + duration.HALF_SPEED_WIDTH / 128)
    assert seconds == pytest.approx(12 + large.shape.bytes / 500e6 + 45 * times * narrow, rel=1e-3)
    assert seconds < 0.6 * 50 * times


def test_jobs_of_different_sizes_show_the_seconds_that_every_job_begins_with() -> None:
    job = dry_run(workload(records=10, length=100), measurements=ONE_PASS)
    spent = flops.flops_per_token(job.shape) * measuring_cost.total_measured_tokens(job)

    def took(times: int, seconds: float) -> duration.FinishedJob:
        return finished(
            job, seconds={"measuring_before": seconds}, flops={"measuring_before": times * spent}, passed={}
        )

    seconds = duration.estimate_seconds(job, "m", [took(1, 31.0), took(10, 40.0), took(100, 130.0)])
    assert seconds == pytest.approx(31.0 + job.shape.bytes / 500e6, rel=1e-2)
    alike = duration.estimate_seconds(job, "m", [took(1, 31.0), took(1, 31.0)])
    assert alike == pytest.approx(31.0 + job.shape.bytes / 500e6, rel=1e-2)


def test_a_measurement_is_expected_to_take_no_longer_than_its_budget() -> None:
    job = dry_run(workload(records=10, length=100), measurements=tuple(resolve_measurements(["exposure"])))
    slow = finished(job, seconds={"measuring_before": 1e6})
    assert duration.estimate_seconds(job, "m", [slow]) == pytest.approx(605 + job.shape.bytes / 500e6, rel=1e-3)


def test_earlier_errors_in_the_expected_tokens_are_corrected() -> None:
    job = workload(records=10, length=100)
    earlier = finished(job, tokens=job.trained_tokens // 2, expected_tokens=job.trained_tokens)
    seconds = 7 + 5 + 45 / 2 + job.shape.bytes / 500e6
    assert duration.estimate_seconds(job, "m", [earlier]) == pytest.approx(seconds, rel=1e-2)


def throughput(**changed: Any) -> Throughput:
    return Throughput(**{"width": 256, "forward": 40e9, "update": 60e9, **changed})


def test_before_the_first_job_seconds_follow_from_the_workers_throughput() -> None:
    """Against the arithmetic written out: FLOPs over FLOPs a second, both corrected for the widths of their models."""
    shape = llama(hidden=1024, layers=4, heads=8, vocabulary=2000, wide=1024)
    job = replace(workload(shape, records=10, length=100), measurements=ONE_PASS)
    speed = duration.Speed.from_workers([throughput()], gpus=0)
    assert speed is not None
    machine, model = 1 + duration.HALF_SPEED_WIDTH / 256, 1 + duration.HALF_SPEED_WIDTH / 1024
    assert speed == duration.Speed(measuring=40e9 * machine, training=60e9 * machine)
    training = flops.training_flops(job) * model / (60e9 * machine)
    measuring = flops.flops_per_token(shape) * measuring_cost.total_measured_tokens(job) * model / (40e9 * machine)
    beginnings = 4 * duration.START_SECONDS  # around, training, and measuring twice
    expected = beginnings + shape.bytes / 500e6 + training + measuring
    assert duration.estimate_seconds(job, "m", [], measured=speed) == pytest.approx(expected, abs=0.05)
    dry = dry_run(job)
    expected = 2 * duration.START_SECONDS + shape.bytes / 500e6 + measuring / 2
    assert duration.estimate_seconds(dry, "m", [], measured=speed) == pytest.approx(expected, abs=0.05)


def test_of_several_workers_the_median_counts_and_each_gpu_of_a_job() -> None:
    workers = [throughput(forward=speed, update=2 * speed) for speed in (1e9, 5e9, 6e9)]
    assert duration.Speed.from_workers(workers, gpus=1) == duration.Speed(7.5e9, 15e9)
    assert duration.Speed.from_workers(workers, gpus=2) == duration.Speed(15e9, 30e9)
    assert duration.Speed.from_workers([], gpus=0) is None


def test_throughput_counts_before_other_models_runs_and_after_the_models_own() -> None:
    job = replace(workload(records=10, length=100), measurements=ONE_PASS)
    speed = duration.Speed.from_workers([throughput()], gpus=0)
    alone = duration.estimate_seconds(job, "m", [], measured=speed)
    other = finished(
        job, model="x", seconds={"loading": duration.START_SECONDS + job.shape.bytes / 500e6, "unlearning": 5.0}
    )
    assert duration.estimate_seconds(job, "m", [other], measured=speed) == pytest.approx(alone, rel=1e-6)
    own = duration.estimate_seconds(job, "m", [finished(job)])
    assert duration.estimate_seconds(job, "m", [finished(job)], measured=speed) == own != alone
    # a dry run of the model shows what measuring takes, and nothing of training
    assert speed is not None
    measured = finished(job).flops["measuring_before"]
    dry = finished(job, flops={"measuring_before": measured}, passed={})
    trained = flops.training_flops(job) * (1 + duration.HALF_SPEED_WIDTH / 4096) / speed.training
    # the run took 20 s for what the job does in all, before and after
    found = duration.estimate_seconds(job, "m", [dry], measured=speed)
    around = finished(job).overhead_seconds + job.shape.bytes / 500e6
    assert found == pytest.approx(around + 15 + 2 * duration.START_SECONDS + duration.START_SECONDS + trained, rel=1e-3)


def test_a_guess_counts_where_there_is_nothing_else() -> None:
    job = replace(workload(records=10, length=100), measurements=ONE_PASS)
    guess, speed = duration.Speed(1e9, 1e9), duration.Speed(40e9, 60e9)
    assert duration.estimate_seconds(job, "m", [], default=guess) is not None
    assert duration.estimate_seconds(job, "m", [finished(job)], default=guess) == duration.estimate_seconds(
        job, "m", [finished(job)]
    )
    assert duration.estimate_seconds(job, "m", [], measured=speed, default=guess) == duration.estimate_seconds(
        job, "m", [], measured=speed
    )
