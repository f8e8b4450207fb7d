"""The table of what measurements cost."""

from benchmarks.standard import cost_rows


def test_costs_stand_beside_those_of_the_earlier_code() -> None:
    now = {"exposure": (200, 3.0), "cloze": (30, 1.0), "baseline": (0, 0.01)}
    earlier = {"exposure": (800, 12.0), "cloze": (50, 2.0), "baseline": (0, 0.01)}
    assert cost_rows(now, earlier) == [
        "| exposure | 800 | 12.0 | 200 | 3.0 | 0.25 |",
        "| cloze | 50 | 2.0 | 30 | 1.0 | 0.50 |",
        "| all | 850 | 14.0 | 230 | 4.0 | 0.29 |",
    ]


def test_a_measurement_that_the_earlier_code_lacks_has_no_cost_there() -> None:
    assert cost_rows({"new": (10, 1.0)}, {}) == ["| new | 0 | 0.0 | 10 | 1.0 | – |", "| all | 0 | 0.0 | 10 | 1.0 | – |"]
    assert cost_rows({"new": (10, 1.0)}, None) == ["| new | 10 | 1.0 |", "| all | 10 | 1.0 |"]
