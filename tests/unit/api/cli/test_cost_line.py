"""A job's cost as a line."""

from api.cli.cost_line import cost_line
from core.schema.cost import JobCost


def test_the_line_has_every_known_cost() -> None:
    cost = JobCost(
        seconds={"unlearning": 1000.0, "measuring_after": 234.5},
        tokens=9,
        peak_host_bytes=2_500_000_000,
        peak_device_bytes=10**10,
        flops={"unlearning": 1e12, "measuring_after": 5e11},
        tokens_per_second={"measuring": 99.9, "unlearning": 1234.4},
        retraining_flops=6e14,
        retraining_share=0.0025,
    )
    assert cost_line(cost) == (
        "cost: 1,234.5 s, unlearning 1,234 tokens/s, measuring 100 tokens/s, peak 2.50 GB and 10.00 GB on the device,"
        " 1.5e+12 model FLOPs (0.25 % of a retraining)"
    )


def test_an_unknown_cost_is_named_or_left_out() -> None:
    cost = JobCost(seconds={"loading": 2.0}, tokens=0, peak_host_bytes=10**9)
    assert cost_line(cost) == "cost: 2.0 s, peak 1.00 GB"
    cost = cost.model_copy(update={"flops": {"attacking": 2e9}})
    assert cost_line(cost) == "cost: 2.0 s, peak 1.00 GB, 2e+09 model FLOPs (share of a retraining unknown)"
