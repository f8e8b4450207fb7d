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
Whole = Mapping[str, Mapping[int, Mapping[str, Result]]]
"""The results of each benchmark, by seed and row."""

ATTACKS = ("loss", "zlib", "min_k_20", "min_k_40", "min_k++_20", "min_k++_40", "reference", "gradnorm")
FigureReader = Callable[[Measurements], Figure | None]


def set_figure(name: str, figure: str) -> FigureReader:
    return lambda one: one.sets.get(name, {}).get(figure)  # type: ignore[call-overload]


def variant_figure(variant: str, name: str, figure: str) -> FigureReader:
    return lambda one: one.variants.get(variant, {}).get(name, {}).get(figure)  # type: ignore[call-overload]


def attack_auc(name: str) -> FigureReader:
    return lambda one: one.attacks[name].auc if name in one.attacks else None


def curve_end(curve: str) -> FigureReader:
    return lambda one: one.curves[curve][-1].figure if one.curves.get(curve) else None


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
    "utility": lambda one: one.across.get("model_utility"),
    "baseline AUC": lambda one: one.across.get("baseline_auc"),
}


def page(whole: Whole, public: Path, command: str) -> str:
    """The Markdown between the marks."""
    found = current_machine()
    parts = [f"Made {datetime.now(UTC):%Y-%m-%d} by `{command}`: {found.description()}."]
    labels = dict.fromkeys(label for results in whole.values() for rows in results.values() for label in rows)
    for data, results in whole.items():
        judged = {seed: _judged(rows) for seed, rows in results.items()}
        parts.append(_benchmark(data, results, judged, public))
        if missing := [label for label in labels if any(label not in rows for rows in results.values())]:
            parts.append(f"Not made of {data}: {', '.join(missing)}.")
    return "\n\n".join(parts)


def _judged(rows: Mapping[str, Result]) -> dict[str, Judgement]:
    """How each row keeps the default policy, as a job is held to it that has no retrained model to look at."""
    before = rows[ORIGINAL].measurements
    return {
        label: judge(_judging(one.measurements), before=before, after=one.measurements)
        for label, one in rows.items()
        if one.measurements is not None
    }


def _judging(found: Measurements) -> Policy:
    """The default policy without the bounds on what a bench was told to measure on a few records only, to save time."""
    return DEFAULT_POLICY.model_copy(
        update={"bounds": [one for one in DEFAULT_POLICY.bounds if one not in _unjudged(found)]}
    )


def _left_out(results: Mapping[int, Mapping[str, Result]], label: str) -> list[str]:
    """The names of the bounds that have no part in the row's verdict."""
    found = [rows[label].measurements for rows in results.values()]
    return list(dict.fromkeys(bound.name for one in found if one is not None for bound in _unjudged(one)))


def _unjudged(found: Measurements) -> list[Bound]:
    few = {name for name, figure in found.sets["forget"].items() if figure.records < FEW}
    return [one for one in DEFAULT_POLICY.bounds if one.variant is None and one.set == "forget" and one.figure in few]


def _benchmark(
    data: str,
    results: Mapping[int, Mapping[str, Result]],
    judged: Mapping[int, Mapping[str, Judgement]],
    public: Path,
) -> str:
    seeds = list(results)
    labels = list(results[seeds[0]])
    read = [f"`{file}` (sha256 {digest[:16]}…)" for file, digest in digests(data, public).items()]
    head = f"### {data}, seeds {', '.join(map(str, seeds))}" + (f"\n\nRead from {', '.join(read)}." if read else "")
    columns = {name: one for name, one in {**LEFT, **KEPT}.items() if _any(results, one)}
    left, kept = ({name: one for name, one in columns.items() if name in group} for group in (LEFT, KEPT))
    attacks = {name: attack_auc(name) for name in ATTACKS if _any(results, attack_auc(name))}

    def table(reads: Mapping[str, FigureReader], more: Mapping[str, Callable[[str], str]]) -> str:
        lines = [["", *more, *reads]]
        for label in labels:
            rows = [results[seed][label] for seed in seeds]
            figures = [_cell([one.measurements for one in rows], how) for how in reads.values()]
            lines.append([label, *(how(label) for how in more.values()), *figures])
        return aligned_table(lines)

    verdicts = {
        "verdict": lambda label: (
            _verdict([judged[seed].get(label) for seed in seeds]) + (MARK if _left_out(results, label) else "")
        )
    }
    marked = dict.fromkeys(name for label in labels for name in _left_out(results, label))
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


def _any(results: Mapping[int, Mapping[str, Result]], read: FigureReader) -> bool:
    return any(
        read(one.measurements) is not None for rows in results.values() for one in rows.values() if one.measurements
    )


def _cell(found: Sequence[Measurements | None], read: FigureReader) -> str:
    """The seeds' mean, and the widest that their 95 % intervals reach."""
    figures = [figure for one in found if one is not None and (figure := read(one)) is not None]
    if not figures:
        return NONE
    lows = [one.low for one in figures if one.low is not None]
    highs = [one.high for one in figures if one.high is not None]
    interval = f" {_short(min(lows))}…{_short(max(highs))}" if lows and highs else ""
    return _short(mean(one.value for one in figures)) + interval


def _short(value: float) -> str:
    if abs(value) >= 1e5:
        return f"{value:.0e}"
    return f"{value:.{2 if abs(value) < 10 else 1 if abs(value) < 100 else 0}f}"


def _verdict(judged: Sequence[Judgement | None]) -> str:
    words = [one.verdict for one in judged if one is not None]
    return ", ".join(f"{word} {words.count(word)}/{len(words)}" for word in dict.fromkeys(words)) or NONE


def _seconds(rows: Sequence[Result], phases: Sequence[str]) -> str:
    spent = [sum(one.seconds.get(phase, 0.0) for phase in phases) for one in rows]
    return f"{mean(spent):.1f}" if any(spent) else NONE


def _memory(rows: Sequence[Result]) -> str:
    return f"{max(one.peak_host_bytes for one in rows) / 2**20:,.0f}"


def _sentences(
    results: Mapping[int, Mapping[str, Result]], judged: Mapping[int, Mapping[str, Judgement]]
) -> Iterator[str]:
    """Of each row: does it pass, what does it miss, does it wreck the model."""
    for label in next(iter(results.values())):
        if label == ORIGINAL:
            continue
        of_seeds = [judged[seed][label] for seed in results if label in judged[seed]]
        failures = [rows[label].failure for rows in results.values() if rows[label].failure]
        if failures:
            yield f"{label}: {failures[0]}."
            continue
        missed: dict[str, int] = {}
        for one in of_seeds:
            for bound in one.bounds:
                if bound.result == "failed":
                    missed[bound.bound.name] = missed.get(bound.bound.name, 0) + 1
        passed = sum(one.verdict == "passed" for one in of_seeds)
        worst = max((_worse(rows, label) for rows in results.values()), default=1.0)
        wrecks = "; wrecks the model" if worst > 2 and label != RETRAINED else ""
        harmed = f"retain or unseen perplexity at most {_short(worst)} times the original's{wrecks}"
        misses = ", ".join(f"{name} ({count}/{len(of_seeds)})" for name, count in missed.items())
        bounds = f" but for {', '.join(left_out)}" if (left_out := _left_out(results, label)) else ""
        passes = f"passes the default policy{bounds} in {passed} of {len(of_seeds)} seeds"
        yield f"{label}: {passes}; {harmed}{f'; misses {misses}' if misses else ''}."


def _worse(rows: Mapping[str, Result], label: str) -> float:
    now, was = rows[label].measurements, rows[ORIGINAL].measurements
    if now is None or was is None:
        return 1.0
    return max(now.sets[name]["perplexity"].value / was.sets[name]["perplexity"].value for name in ("retain", "unseen"))


def write_figures(file: Path, whole: Whole) -> None:
    """Every figure of every row and seed as one line of CSV."""
    with file.open("w", encoding="utf-8", newline="") as out:
        lines = csv.writer(out, lineterminator="\n")
        lines.writerow(["data", "seed", "row", "where", "figure", "value", "low", "high", "records"])
        for data, results in whole.items():
            for seed, rows in results.items():
                for label, one in rows.items():
                    for where, name, figure in _figures(one.measurements):
                        shown = [
                            "" if value is None else f"{value:.6g}" for value in (figure.value, figure.low, figure.high)
                        ]
                        lines.writerow([data, seed, label, where, name, *shown, figure.records])


def _figures(found: Measurements | None) -> Iterator[tuple[str, str, Figure]]:
    if found is None:
        return
    for where, figures in found.sets.items():
        for figure, value in figures.items():
            yield where, figure, value
    for name, attack in found.attacks.items():
        for rate in ("auc", "tpr_at_1_fpr", "tpr_at_5_fpr"):
            yield "attack", f"{name}.{rate}", getattr(attack, rate)
        if attack.joint is not None:
            low, high = attack.joint
            yield "attack", f"{name}.auc_joint", attack.auc.model_copy(update={"low": low, "high": high})
    for figure, value in found.across.items():
        yield "across", figure, value
    for variant, sets in found.variants.items():
        for where, figures in sets.items():
            for figure, value in figures.items():
                yield f"{variant}/{where}", figure, value
    for curve, places in found.curves.items():
        for place in places:
            yield "curve", f"{curve}@{place.step}", place.figure
    for task, metrics in found.benchmarks.items():
        for metric, value in metrics.items():
            yield f"benchmark/{task}", metric, value
