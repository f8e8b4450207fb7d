"""The benchmark of methods as a page: tables for people, one sentence about each method, and every figure as CSV."""

import csv
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import mean

from benchmarks.datasets import digests
from benchmarks.generated_page import aligned_table
from benchmarks.machine import current_machine
from benchmarks.results import ORIGINAL, RETRAINED, Result
from core.evaluation.policy.verdict import judge
from core.schema.default_policy import DEFAULT_POLICY
from core.schema.evaluation import Figure, Measurements
from core.schema.policies import Bound, Judgement, Policy

NONE = "–"
FEW = 20
MARK = " †"
Results = Mapping[str, Mapping[int, Mapping[str, Result]]]
"""Results by benchmark, seed and row."""

ATTACKS = ("loss", "zlib", "min_k_20", "min_k_40", "min_k++_20", "min_k++_40", "reference", "gradnorm")
FigureReader = Callable[[Measurements], Figure | None]


def set_figure(name: str, figure: str) -> FigureReader:
    return lambda measurements: measurements.sets.get(name, {}).get(figure)  # type: ignore[call-overload]


def variant_figure(variant: str, name: str, figure: str) -> FigureReader:
    return lambda measurements: measurements.variants.get(variant, {}).get(name, {}).get(figure)  # type: ignore[call-overload]


def attack_auc(name: str) -> FigureReader:
    return lambda measurements: measurements.attacks[name].auc if name in measurements.attacks else None


def curve_end(curve: str) -> FigureReader:
    return lambda measurements: measurements.curves[curve][-1].figure if measurements.curves.get(curve) else None


LEFT: dict[str, FigureReader] = {
    "forget ppl": set_figure("forget", "perplexity"),
    "extraction": set_figure("forget", "extraction_strength"),
    "verbatim": set_figure("forget", "verbatim_recall"),
    "sampled": set_figure("forget", "sampled_leak_recall"),
    "cloze": set_figure("forget", "cloze"),
    "exposure": set_figure("forget", "exposure"),
    "int4 ppl": variant_figure("int4", "forget", "perplexity"),
    "relearned ppl": curve_end("relearned_forget"),
}
KEPT: dict[str, FigureReader] = {
    "retain ppl": set_figure("retain", "perplexity"),
    "unseen ppl": set_figure("unseen", "perplexity"),
    "retain extraction": set_figure("retain", "extraction_strength"),
    "truth ratio": set_figure("probes", "truth_ratio"),
    "utility": lambda measurements: measurements.across.get("model_utility"),
    "baseline AUC": lambda measurements: measurements.across.get("baseline_auc"),
}


def page(all_results: Results, public: Mapping[str, Path], command: str) -> str:
    """Returns the Markdown between the marks. `public`: the folder with the files of each benchmark."""
    parts = [f"Made {datetime.now(UTC):%Y-%m-%d} by `{command}`: {current_machine().description()}."]
    labels = dict.fromkeys(label for results in all_results.values() for rows in results.values() for label in rows)
    for data, results in all_results.items():
        judged = {seed: _judge_rows(rows) for seed, rows in results.items()}
        parts.append(_benchmark(data, results, judged, public[data]))
        if missing := [label for label in labels if any(label not in rows for rows in results.values())]:
            parts.append(f"Not made of {data}: {', '.join(missing)}.")
    return "\n\n".join(parts)


def _judge_rows(rows: Mapping[str, Result]) -> dict[str, Judgement]:
    """Judges each row by the default policy, as a job without a retrained model is judged."""
    before = rows[ORIGINAL].measurements
    return {
        label: judge(_policy_for(result.measurements), before=before, after=result.measurements)
        for label, result in rows.items()
        if result.measurements is not None
    }


def _policy_for(measurements: Measurements) -> Policy:
    """Returns the default policy without the bounds on figures of only a few records (measured so to save time)."""
    return DEFAULT_POLICY.model_copy(
        update={"bounds": [bound for bound in DEFAULT_POLICY.bounds if bound not in _unjudged(measurements)]}
    )


def _skipped_bounds(results: Mapping[int, Mapping[str, Result]], label: str) -> list[str]:
    """Returns the names of the bounds that do not count for the row's verdict."""
    measured = [rows[label].measurements for rows in results.values()]
    return list(dict.fromkeys(bound.name for row in measured if row is not None for bound in _unjudged(row)))


def _unjudged(measurements: Measurements) -> list[Bound]:
    few = {name for name, figure in measurements.sets["forget"].items() if figure.records < FEW}
    return [
        bound
        for bound in DEFAULT_POLICY.bounds
        if bound.variant is None and bound.set == "forget" and bound.figure in few
    ]


def _benchmark(
    data: str,
    results: Mapping[int, Mapping[str, Result]],
    judged: Mapping[int, Mapping[str, Judgement]],
    public: Path,
) -> str:
    seeds = list(results)
    labels = list(results[seeds[0]])
    sources = [f"`{file}` (sha256 {digest[:16]}…)" for file, digest in digests(data, public).items()]
    head = f"### {data}, seeds {', '.join(map(str, seeds))}" + (
        f"\n\nRead from {', '.join(sources)}." if sources else ""
    )
    columns = {name: read for name, read in {**LEFT, **KEPT}.items() if _has_figure(results, read)}
    left, kept = ({name: read for name, read in columns.items() if name in group} for group in (LEFT, KEPT))
    attacks = {name: attack_auc(name) for name in ATTACKS if _has_figure(results, attack_auc(name))}

    def table(reads: Mapping[str, FigureReader], more: Mapping[str, Callable[[str], str]]) -> str:
        lines = [["", *more, *reads]]
        for label in labels:
            rows = [results[seed][label] for seed in seeds]
            figures = [_cell([row.measurements for row in rows], read) for read in reads.values()]
            lines.append([label, *(text(label) for text in more.values()), *figures])
        return aligned_table(lines)

    verdicts = {
        "verdict": lambda label: (
            _verdict([judged[seed].get(label) for seed in seeds]) + (MARK if _skipped_bounds(results, label) else "")
        )
    }
    marked = dict.fromkeys(name for label in labels for name in _skipped_bounds(results, label))
    note = f"{MARK}: without the bounds {', '.join(marked)}, whose figures stand on fewer than {FEW} records here."
    costs = {
        "unlearning s": lambda label: _seconds([results[seed][label] for seed in seeds], ("unlearning",)),
        "measuring s": lambda label: _seconds(
            [results[seed][label] for seed in seeds], ("measuring_after", "attacking")
        ),
        "peak MiB": lambda label: _memory([results[seed][label] for seed in seeds]),
    }
    sentences = [f"- {line}" for line in _sentences(results, judged)]
    return "\n\n".join(
        [
            head,
            table(left, verdicts),
            *([note] if marked else []),
            table(kept, costs),
            table(attacks, {"AUC of": lambda _: ""}),
            "\n".join(sentences),
        ]
    )


def _has_figure(results: Mapping[int, Mapping[str, Result]], read: FigureReader) -> bool:
    return any(
        read(result.measurements) is not None
        for rows in results.values()
        for result in rows.values()
        if result.measurements
    )


def _cell(measured: Sequence[Measurements | None], read: FigureReader) -> str:
    """Returns the mean over the seeds, and the outermost ends of their 95 % intervals."""
    figures = [figure for row in measured if row is not None and (figure := read(row)) is not None]
    if not figures:
        return NONE
    lows = [figure.low for figure in figures if figure.low is not None]
    highs = [figure.high for figure in figures if figure.high is not None]
    interval = f" {_short(min(lows))}…{_short(max(highs))}" if lows and highs else ""
    return _short(mean(figure.value for figure in figures)) + interval


def _short(value: float) -> str:
    if abs(value) >= 1e5:
        return f"{value:.0e}"
    return f"{value:.{2 if abs(value) < 10 else 1 if abs(value) < 100 else 0}f}"


def _verdict(judged: Sequence[Judgement | None]) -> str:
    words = [judgement.verdict for judgement in judged if judgement is not None]
    return ", ".join(f"{word} {words.count(word)}/{len(words)}" for word in dict.fromkeys(words)) or NONE


def _seconds(rows: Sequence[Result], phases: Sequence[str]) -> str:
    spent = [sum(row.seconds.get(phase, 0.0) for phase in phases) for row in rows]
    return f"{mean(spent):.1f}" if any(spent) else NONE


def _memory(rows: Sequence[Result]) -> str:
    return f"{max(row.peak_host_bytes for row in rows) / 2**20:,.0f}"


def _sentences(
    results: Mapping[int, Mapping[str, Result]], judged: Mapping[int, Mapping[str, Judgement]]
) -> Iterator[str]:
    """Yields a sentence for each row: whether it passes, which bounds it misses, whether it wrecks the model."""
    for label in next(iter(results.values())):
        if label == ORIGINAL:
            continue
        judgements = [judged[seed][label] for seed in results if label in judged[seed]]
        failures = [rows[label].failure for rows in results.values() if rows[label].failure]
        if failures:
            yield f"{label}: {failures[0]}."
            continue
        missed: dict[str, int] = {}
        for judgement in judgements:
            for judged_bound in judgement.bounds:
                if judged_bound.result == "failed":
                    name = judged_bound.bound.name
                    missed[name] = missed.get(name, 0) + 1
        passed = sum(judgement.verdict == "passed" for judgement in judgements)
        worst = max((_perplexity_factor(rows, label) for rows in results.values()), default=1.0)
        wrecks = "; wrecks the model" if worst > 2 and label != RETRAINED else ""
        harmed = f"retain or unseen perplexity at most {_short(worst)} times the original's{wrecks}"
        misses = ", ".join(f"{name} ({count}/{len(judgements)})" for name, count in missed.items())
        bounds = f" but for {', '.join(left_out)}" if (left_out := _skipped_bounds(results, label)) else ""
        passes = f"passes the default policy{bounds} in {passed} of {len(judgements)} seeds"
        yield f"{label}: {passes}; {harmed}{f'; misses {misses}' if misses else ''}."


def _perplexity_factor(rows: Mapping[str, Result], label: str) -> float:
    after, before = rows[label].measurements, rows[ORIGINAL].measurements
    if after is None or before is None:
        return 1.0
    return max(
        after.sets[name]["perplexity"].value / before.sets[name]["perplexity"].value for name in ("retain", "unseen")
    )


def write_figures(file: Path, all_results: Results) -> None:
    """Writes every figure of every row and seed as a line of CSV."""
    with file.open("w", encoding="utf-8", newline="") as out:
        lines = csv.writer(out, lineterminator="\n")
        lines.writerow(["data", "seed", "row", "where", "figure", "value", "low", "high", "records"])
        for data, results in all_results.items():
            for seed, rows in results.items():
                for label, result in rows.items():
                    for where, name, figure in _figures(result.measurements):
                        values = [
                            "" if value is None else f"{value:.6g}" for value in (figure.value, figure.low, figure.high)
                        ]
                        lines.writerow([data, seed, label, where, name, *values, figure.records])


def _figures(measurements: Measurements | None) -> Iterator[tuple[str, str, Figure]]:
    if measurements is None:
        return
    for where, figures in measurements.sets.items():
        for figure, value in figures.items():
            yield where, figure, value
    for name, attack in measurements.attacks.items():
        for rate in ("auc", "tpr_at_1_fpr", "tpr_at_5_fpr"):
            yield "attack", f"{name}.{rate}", getattr(attack, rate)
        if attack.joint is not None:
            low, high = attack.joint
            yield "attack", f"{name}.auc_joint", attack.auc.model_copy(update={"low": low, "high": high})
    for figure, value in measurements.across.items():
        yield "across", figure, value
    for variant, sets in measurements.variants.items():
        for where, figures in sets.items():
            for figure, value in figures.items():
                yield f"{variant}/{where}", figure, value
    for curve, points in measurements.curves.items():
        for point in points:
            yield "curve", f"{curve}@{point.step}", point.figure
    for task, metrics in measurements.benchmarks.items():
        for metric, value in metrics.items():
            yield f"benchmark/{task}", metric, value
