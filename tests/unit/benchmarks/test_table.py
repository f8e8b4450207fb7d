from rich.console import Console

from benchmarks.case import Case
from benchmarks.race import Result, Track
from benchmarks.table import markdown, tables

CASE = Case("ascent_kl", "small", 32768, "short", 4, 16, 16)


def track(seconds, losses=(-10.0, -11.0, -12.0, -13.0), added=100 << 20, **changes):
    return Track(list(seconds), list(losses), [12.0] * 4, added + (300 << 20), added, **changes)


def result(**plain):
    core = track([4.0, 1.0, 1.0, 2.0])
    plain_track = track([2.0, 3.0, 2.0, 4.0], losses=(-10.0, -11.0, -12.06, -13.0), added=400 << 20, **plain)
    return Result(CASE, [900, 1000, 1000, 1000], core, plain_track)


def printed(*results):
    console = Console(width=80)
    with console.capture() as capture:
        for table in tables(list(results)):
            console.print(table)
    return capture.get()


def test_speed_leaves_the_first_update_out_and_ratios_are_the_medians_of_pairs():
    outcome = result()
    assert outcome.speed(outcome.core) == 1000
    assert outcome.speed(outcome.plain) == 1000 / 3
    assert outcome.speedup() == 2.0
    assert outcome.total_speedup() == 11 / 8
    assert outcome.memory_ratio() == 0.25
    assert round(outcome.loss_difference(), 5) == 0.005


def test_a_table_fits_eighty_columns_and_cuts_nothing_off():
    text = printed(result())
    assert "small, vocabulary 32,768, short records, float32" in text
    row = next(line for line in text.splitlines() if line.strip().startswith("ascent_kl"))
    assert row.split() == ["ascent_kl", "1,000", "333", "2.00", "1.38", "100", "400", "0.25", "5e-03"]
    assert "…" not in text


def test_a_side_that_ran_out_of_memory_is_shown_as_such_and_compared_with_nothing():
    outcome = Result(CASE, [900] * 4, track([4.0, 1.0, 1.0, 2.0]), Track(out_of_memory=True))
    row = next(line for line in printed(outcome).splitlines() if line.strip().startswith("ascent_kl"))
    assert row.split() == ["ascent_kl", "900", "OOM", "–", "–", "100", "–", "–", "–"]
    assert "| ascent_kl | 900 | OOM | – |" in markdown([outcome])


def test_utilization_is_the_flops_of_an_update_over_the_peak_of_the_device():
    """1,000 tokens a second, records of 30 tokens: (6e9 + 1e6 * 30.47) FLOPs each, of 1e13."""
    outcome = result(flops_per_token=(6e9, 1e6), peak_flops=1e13)
    outcome.plain.seconds[1:] = [1.0, 1.0, 1.0]
    length = 3900 / 128
    assert outcome.utilization(outcome.plain) == 1000 * (6e9 + 1e6 * length) / 1e13
    assert outcome.utilization(outcome.core) is None
