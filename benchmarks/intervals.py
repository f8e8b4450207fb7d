"""How often intervals hold the true mean of random values, and their widths: the service's interval and others.

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
    """A distribution of a figure's values over records, and its true mean."""

    name: str
    draw: Draw
    mean: float


def with_outliers(mean: float, deviation: float, distance: float, share: float = 0.02) -> Draw:
    """Returns normal values, of which a share is higher by `distance`."""
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


def student_t(values: Values, resampled: Values) -> tuple[float, float]:
    return student(values, np.ones(len(values)))


def bca(values: Values, resampled: Values) -> tuple[float, float]:
    """The BCa interval of SciPy."""
    from scipy.stats import bootstrap

    result = bootstrap((values,), np.mean, n_resamples=len(resampled), method="BCa", rng=np.random.default_rng(0))
    return float(result.confidence_interval.low), float(result.confidence_interval.high)


def bootstrap_t(values: Values, resampled: Values) -> tuple[float, float]:
    """The bootstrap-t: resampled means in their own standard errors (Efron and Tibshirani 1993, section 12.5)."""
    n, count = len(values), len(resampled)
    drawn = values[np.random.default_rng(0).integers(0, n, (count, n))]
    errors = drawn.std(axis=1, ddof=1) / np.sqrt(n)
    mean, error = values.mean(), values.std(ddof=1) / np.sqrt(n)
    deviations = (drawn.mean(axis=1)[errors > 0] - mean) / errors[errors > 0]
    low, high = np.quantile(deviations, (0.025, 0.975))
    return float(mean - high * error), float(mean - low * error)


def job_interval(values: Values, resampled: Values) -> tuple[float, float]:
    return mean_interval(values, np.ones(len(values)), resampled)


INTERVALS = {
    "percentile": percentile,
    "Student": student_t,
    "BCa": bca,
    "bootstrap-t": bootstrap_t,
    "ours": job_interval,
}


@dataclass(frozen=True)
class Tally:
    """Shares of samples whose interval holds the mean, lies above it, lies below it; and the mean width."""

    holds: float
    above: float
    below: float
    width: float


def tallies(case: Case, records: int, *, trials: int, resamples: int = 1000) -> dict[str, Tally]:
    """Returns the tally of each interval by its name; equal for equal arguments."""
    generator = np.random.default_rng([records, *case.name.encode()])
    ends: dict[str, list[tuple[float, float]]] = {name: [] for name in INTERVALS}
    for trial in range(trials):
        values = case.draw(generator, records)
        blocks = Resamples(trial, case.name, resamples).blocks(records, rows=resamples)
        resampled = np.concatenate([counts @ values / records for counts in blocks])
        for name, interval in INTERVALS.items():
            ends[name].append(interval(values, resampled))
    return {name: _tally(np.array(intervals), case.mean) for name, intervals in ends.items()}


def _tally(ends: Values, mean: float) -> Tally:
    """`ends` (trials, 2)."""
    above, below = float((ends[:, 0] > mean).mean()), float((ends[:, 1] < mean).mean())
    return Tally(1 - above - below, above, below, float(np.mean(ends[:, 1] - ends[:, 0])))


def table(trials: int) -> str:
    """Returns a row for each case and size: how often each interval holds the mean, and its width beside Student's."""
    lines = [["values", "records", *INTERVALS], ["---", "---:", *("---:" for _ in INTERVALS)]]
    for case in CASES:
        for records in SIZES:
            tally_of = tallies(case, records, trials=trials)
            student_width = tally_of["Student"].width
            cells = [f"{tally.holds:.3f} ({tally.width / student_width:.2f})" for tally in tally_of.values()]
            lines.append([case.name, str(records), *cells])
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def time_sentence() -> str:
    """Times six figures of 4,000 records, by the service's code and by SciPy's BCa; returns a sentence."""
    import time

    generator = np.random.default_rng(0)
    columns = {str(number): (generator.lognormal(0, 1, 4000), np.ones(4000)) for number in range(6)}
    began = time.process_time()
    weighted_means(columns, Resamples(0, "a"), through={}, ranges=dict.fromkeys(columns, CHANGE))
    own = time.process_time() - began
    began = time.process_time()
    bca(columns["0"][0], np.zeros(1000))
    library = 6 * (time.process_time() - began)
    return f"Six figures of 4,000 records take {own:.2f} CPU-seconds, and {library:.2f} by the library's BCa."


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.intervals")
    parser.add_argument("--trials", type=int, default=2000)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    text = (
        f"Made by `python -m benchmarks.intervals --trials {arguments.trials}`: so many samples in each row, 1,000"
        f" resamples of each; the share of 95 % intervals that hold the true mean, and in brackets their mean width"
        f" beside Student's. {time_sentence()}\n\n{table(arguments.trials)}"
    )
    if arguments.out is None:
        print(text)
    else:
        replace_section(arguments.out, MARK, text)


if __name__ == "__main__":
    main()
