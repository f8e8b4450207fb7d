from rich.console import Console

from benchmarks.case import Case
from benchmarks.race import Result, Track
from benchmarks.table import markdown, tables

CASE = Case("ascent_kl", "small", 32768, "short", 4, 16, 16)


def track(seconds, losses=(-10.0, -11.0, -12.0, -13.0), added=100 << 20, **changes):
    return Track(list(seconds), list(losses), [12.0] * 4, added + (300 << 20), added, **changes)


def result(**plain):
    core = track([4.0, 1.0, 1.0, 2.0])
    other = track([2.0, 3.0, 2.0, 4.0], losses=(-10.0, -11.0, -12.06, -13.0), added=400 << 20, **plain)
    return Result(CASE, [900, 1000, 1000, 1000], core, other)


def printed(*results):
    console = Console(width=80)
    with console.capture() as capture:
        for table in tables(list(results)):
            console.print(table)
    return capture.get()


def test_speed_leaves_the_first_update_out_and_ratios_are_the_medians_of_pairs():
    one = result()
    assert one.speed(one.core) == 1000
    assert one.speed(one.plain) == 1000 / 3
    assert one.faster() == 2.0
    assert one.faster_in_all() == 11 / 8
    assert one.memory() == 0.25
    assert round(one.loss_difference(), 5) == 0.005


def test_a_table_fits_eighty_columns_and_cuts_nothing_off():
    text = printed(result())
    assert "small, vocabulary 32,768, short records, float32" in text
    row = next(line for line in text.splitlines() if line.strip().startswith("ascent_kl"))
    assert row.split() == ["ascent_kl", "1,000", "333", "2.00", "1.38", "100", "400", "0.25", "5e-03"]
    assert "…" not in text


def test_a_side_without_memory_is_said_to_be_so_and_compared_with_nothing():
    one = Result(CASE, [900] * 4, track([4.0, 1.0, 1.0, 2.0]), Track(out_of_memory=True))
    row = next(line for line in printed(one).splitlines() if line.strip().startswith("ascent_kl"))
    assert row.split() == ["ascent_kl", "900", "OOM", "–", "–", "100", "–", "–", "–"]
    assert "| ascent_kl | 900 | OOM | – |" in markdown([one])


def test_utilisation_is_what_the_update_needs_over_what_the_device_could_do():
    """1,000 tokens a second, records of 30 tokens: (6e9 + 1e6 * 30.47) FLOPs each, of 1e13."""
    one = result(flops_per_token=(6e9, 1e6), peak_flops=1e13)
    one.plain.seconds[1:] = [1.0, 1.0, 1.0]
    length = 3900 / 128
    assert one.utilisation(one.plain) == 1000 * (6e9 + 1e6 * length) / 1e13
    assert one.utilisation(one.core) is None
