"""How often an interval holds the true mean, and how wide it is: ours beside others, of values made by chance.

python -m benchmarks.intervals --out docs/benchmarks.md
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.generated_page import replace_section
from core.evaluation.stats.bootstrap import CHANGE, Resamples, Values, mean_interval, student, weighted_means

SIZES = (20, 60, 200)
MARK = "intervals"
Draw = Callable[[np.random.Generator, int], Values]


@dataclass(frozen=True)
class Case:
    """Values of records as some figure has them, and their true mean."""

    name: str
    draw: Draw
    mean: float


def with_outliers(mean: float, deviation: float, distance: float, share: float = 0.02) -> Draw:
    """Normal values, of which a share lies so far above."""
    return lambda generator, n: (
        generator.normal(mean, deviation, n) + np.where(generator.random(n) < share, distance, 0.0)
    )


CASES = (
    Case("CE, normal", lambda generator, n: generator.normal(3.7, 0.5, n), 3.7),
    Case("CE, lognormal", lambda generator, n: generator.lognormal(1.2, 0.5, n), float(np.exp(1.2 + 0.125))),
    Case("CE, lognormal, heavy", lambda generator, n: generator.lognormal(0, 1, n), float(np.exp(0.5))),
    Case("CE, 2 % lie 3 nats off", with_outliers(3.7, 0.5, 3), 3.76),
    Case("CE, 2 % lie 8 nats off", with_outliers(3.7, 0.5, 8), 3.86),
    Case("change of CE, normal", lambda generator, n: generator.normal(0, 0.02, n), 0.0),
    Case("change of CE, 2 % lie 0.3 off", with_outliers(0, 0.02, 0.3), 0.006),
    Case("extraction strength", lambda generator, n: generator.exponential(0.03, n), 0.03),
    Case("rank among twins", lambda generator, n: generator.integers(1, 101, n) / 100, 0.505),
)


def percentile(values: Values, resampled: Values) -> tuple[float, float]:
    low, high = np.quantile(resampled, (0.025, 0.975))
    return float(low), float(high)


def of_student(values: Values, resampled: Values) -> tuple[float, float]:
    return student(values, np.ones(len(values)))


def accelerated(values: Values, resampled: Values) -> tuple[float, float]:
    """BCa, by the library."""
    from scipy.stats import bootstrap

    found = bootstrap((values,), np.mean, n_resamples=len(resampled), method="BCa", rng=np.random.default_rng(0))
    return float(found.confidence_interval.low), float(found.confidence_interval.high)


def studentised(values: Values, resampled: Values) -> tuple[float, float]:
    """The bootstrap-t: each resample's mean in its own standard errors (Efron and Tibshirani 1993, section 12.5)."""
    n, count = len(values), len(resampled)
    drawn = values[np.random.default_rng(0).integers(0, n, (count, n))]
    errors = drawn.std(axis=1, ddof=1) / np.sqrt(n)
    whole, error = values.mean(), values.std(ddof=1) / np.sqrt(n)
    far = (drawn.mean(axis=1)[errors > 0] - whole) / errors[errors > 0]
    low, high = np.quantile(far, (0.025, 0.975))
    return float(whole - high * error), float(whole - low * error)


def ours(values: Values, resampled: Values) -> tuple[float, float]:
    return mean_interval(values, np.ones(len(values)), resampled)


WAYS = {"percentile": percentile, "Student": of_student, "BCa": accelerated, "bootstrap-t": studentised, "ours": ours}


@dataclass(frozen=True)
class Tally:
    """Of one way: the shares of samples whose interval holds the mean, lies above it, lies below it; the mean width."""

    holds: float
    above: float
    below: float
    width: float


def tallies(case: Case, records: int, *, trials: int, resamples: int = 1000) -> dict[str, Tally]:
    """By the way's name; the same for the same arguments."""
    generator = np.random.default_rng([records, *case.name.encode()])
    ends: dict[str, list[tuple[float, float]]] = {name: [] for name in WAYS}
    for trial in range(trials):
        values = case.draw(generator, records)
        blocks = Resamples(trial, case.name, resamples).blocks(records, rows=resamples)
        resampled = np.concatenate([counts @ values / records for counts in blocks])
        for name, way in WAYS.items():
            ends[name].append(way(values, resampled))
    return {name: _tally(np.array(found), case.mean) for name, found in ends.items()}


def _tally(ends: Values, mean: float) -> Tally:
    """`ends` (trials, 2)."""
    above, below = float((ends[:, 0] > mean).mean()), float((ends[:, 1] < mean).mean())
    return Tally(1 - above - below, above, below, float(np.mean(ends[:, 1] - ends[:, 0])))


def table(trials: int) -> str:
    """A row for each case and size; of each way how often it holds the mean, and its width beside Student's."""
    lines = [["values", "records", *WAYS], ["---", "---:", *("---:" for _ in WAYS)]]
    for case in CASES:
        for records in SIZES:
            found = tallies(case, records, trials=trials)
            usual = found["Student"].width
            cells = [f"{one.holds:.3f} ({one.width / usual:.2f})" for one in found.values()]
            lines.append([case.name, str(records), *cells])
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def seconds() -> str:
    """What six figures of 4,000 records take, by our code and one by the library's, as a sentence."""
    import time

    generator = np.random.default_rng(0)
    columns = {str(number): (generator.lognormal(0, 1, 4000), np.ones(4000)) for number in range(6)}
    began = time.process_time()
    weighted_means(columns, Resamples(0, "a"), through={}, ranges=dict.fromkeys(columns, CHANGE))
    own = time.process_time() - began
    began = time.process_time()
    accelerated(columns["0"][0], np.zeros(1000))
    library = 6 * (time.process_time() - began)
    return f"Six figures of 4,000 records take {own:.2f} CPU-seconds, and {library:.2f} by the library's BCa."


def main() -> None:
    arguments = argparse.ArgumentParser(prog="python -m benchmarks.intervals")
    arguments.add_argument("--trials", type=int, default=2000)
    arguments.add_argument("--out", type=Path)
    given = arguments.parse_args()
    text = (
        f"Made by `python -m benchmarks.intervals --trials {given.trials}`: so many samples in each row, 1,000"
        f" resamples of each; the share of 95 % intervals that hold the true mean, and in brackets their mean width"
        f" beside Student's. {seconds()}\n\n{table(given.trials)}"
    )
    if given.out is None:
        print(text)
    else:
        replace_section(given.out, MARK, text)


if __name__ == "__main__":
    main()
