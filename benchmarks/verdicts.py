"""How often the default policy errs: simulated models with a known leak, judged by the code that judges jobs.

    python -m benchmarks.verdicts --out docs/benchmarks.md

A trial draws the records to forget and the unseen records. Each record has a strength: how familiar the model finds the
text. All attacks see the strength through noise of their own. A leak shifts the strength of the records to forget by as
many deviations as give the leak's AUC. A record's rank among its twins has noise of its own and the same leak. The text
that the model gives back shows a leak only where the model knows the text by heart.
"""

import argparse
from collections import Counter
from dataclasses import dataclass
from functools import cache
from math import sqrt
from pathlib import Path
from statistics import NormalDist
from typing import get_args

import numpy as np

from benchmarks.generated_page import replace_section
from core.evaluation.attacks.exposure import mean_rank_p_value
from core.evaluation.attacks.sequential_rank import stopped_rank
from core.evaluation.measurements.exposure import Exposure
from core.evaluation.measurements.leak_at_k import LeakAtK
from core.evaluation.policy import preview
from core.evaluation.policy.verdict import judge
from core.evaluation.scores.likelihood import perplexity
from core.evaluation.stats.auc import delong, joint_interval, joint_level
from core.evaluation.stats.bootstrap import AMOUNT, CHANGE, Resamples, Values, weighted_means
from core.evaluation.stats.leak_rates import highest_rate
from core.schema.default_policy import DEFAULT_POLICY
from core.schema.evaluation import JUDGED_ATTACKS, Attack, Figure, Measurements
from core.schema.jobs import Outcome
from core.schema.policies import Judgement
from core.schema.verdict_parts import Part

UNSEEN = 200
RESAMPLES = 200
"""A fifth of a job's resamples: the ends of the intervals are noisier, but not wider."""

TWINS = Exposure().twins
RANKED = Exposure().records
"""The most records of a set that are ranked among their twins, as in a job; None: all."""

SAMPLED, SAMPLES = LeakAtK().records, LeakAtK().samples
"""Records that are sampled, and how often each, as in a job."""

HIGHEST = {
    "extraction_strength": "extraction_strength_highest",
    "verbatim_recall": "verbatim_recall_highest",
    "cloze": "cloze_highest",
}

SIZES = (1, 5, 10, 20, 60, 100, 200)
FEW_RECORDS = (1, 5, 10, 20)
"""Sizes at which the parts are shown apart."""
RESULTS = ("passed", "failed", "not_judged")
PREVIEWED = (1, 2, 5, 10, 20, 50, 100, 200)
MARK = "verdicts"
PREVIEW_MARK = "previews"
_SHARED = sqrt(0.8)
"""Correlation of an attack's scores with the shared strength; the scores of two attacks correlate by 0.8."""


@dataclass(frozen=True)
class Leak:
    """A model that finds forget text more familiar than unseen text by `shift` deviations.

    With `by_heart` above 0 it knows this share of the records by heart, at least one record, and leaks no other.
    """

    name: str
    auc: float
    by_heart: float = 0.0
    attacks_alone: bool = False
    """Whether only membership attacks see the leak, and neither perplexity nor the rank among twins."""

    @property
    def shift(self) -> float:
        """The distance of two normal distributions that have this AUC."""
        return sqrt(2) * NormalDist().inv_cdf(self.auc)


RETRAINED = Leak("retrained, AUC 0.5", 0.5)
LEAKING = Leak("leaks, AUC 0.75", 0.75)
ORIGINAL = Leak("the original, knows it by heart", 1 - 1e-6, by_heart=1.0)
ONE_IN_TWENTY = Leak("knows one in twenty by heart", 1 - 1e-6, by_heart=0.05)
MEMBERSHIP_ALONE = Leak("leaks to membership attacks alone, AUC 0.75", 0.75, attacks_alone=True)
SUPPRESSED = Leak("over-unlearned, AUC near 0", 1e-3)
MODELS = (
    RETRAINED,
    Leak("leaks, AUC 0.6", 0.6),
    Leak("leaks, AUC 0.65", 0.65),
    LEAKING,
    MEMBERSHIP_ALONE,
    ONE_IN_TWENTY,
    ORIGINAL,
    SUPPRESSED,
)


BLATANT = Leak("leaks, AUC 0.9", 0.9)


def run_trial(leak: Leak, records: int, generator: np.random.Generator, *, resamples: int = RESAMPLES) -> Judgement:
    """Draws a model's figures on this number of records to forget, and judges them by the default policy."""
    after = draw_figures(leak, records, generator, resamples=resamples)
    before = after.model_copy(update={"model_digest": "of the model before"})
    return judge(DEFAULT_POLICY, before=before, after=after)


def preview_outcome(leak: Leak, records: int, generator: np.random.Generator, *, resamples: int = RESAMPLES) -> Outcome:
    """Returns the outcome of a dry run on such a model, with a dry run's fewer twins and no ranked unseen records."""
    measurements = draw_figures(leak, records, generator, resamples=resamples, twins=preview.TWINS)
    for figure in ("exposure_rank", "exposure_p"):
        del measurements.sets["unseen"][figure]
    return preview.conclude(measurements).outcome


def draw_figures(
    leak: Leak, records: int, generator: np.random.Generator, *, resamples: int = RESAMPLES, twins: int = TWINS
) -> Measurements:
    """Draws a model's figures on this number of records to forget."""
    seed = int(generator.integers(1 << 31))
    forget = _draw_columns(leak, records, generator, twins)
    unseen = _draw_columns(RETRAINED, UNSEEN, generator, twins)
    retained = {"perplexity_ratio": generator.normal(0, 0.02, UNSEEN)}
    sets = {
        "forget": _figures(forget, seed, "forget", resamples, twins),
        "unseen": _figures(unseen, seed, "unseen", resamples, twins),
        "retain": _figures(retained, seed, "retain", resamples, twins),
    }
    sets["retain"]["perplexity"] = sets["retain"]["perplexity_ratio"]
    attacks = _attacks(*(np.stack([columns[name] for name in JUDGED_ATTACKS]) for columns in (forget, unseen)))
    level = Figure(value=0.5, low=0.4, high=0.6, records=records)
    return Measurements.model_validate(
        {
            "seconds": 0,
            "model_digest": "",
            "sets": sets,
            "attacks": attacks,
            "across": {"baseline_auc": level},
            "variants": {"int4": {"forget": sets["forget"]}},
        }
    )


def _draw_columns(leak: Leak, records: int, generator: np.random.Generator, twins: int = TWINS) -> dict[str, Values]:
    """Draws values of each record, (records,) each, with the spreads of small models on records of people."""
    known = np.arange(records) < np.ceil(leak.by_heart * records)
    shift = np.where(known, leak.shift, 0.0) if leak.by_heart else np.full(records, leak.shift)

    def normal(mean: Values | float, deviation: float) -> Values:
        return np.asarray(generator.normal(mean, deviation, records))

    strength, noise = normal(0, 1), sqrt(1 - _SHARED**2)
    columns = {name: shift + _SHARED * strength + normal(0, noise) for name in JUDGED_ATTACKS}
    if leak.attacks_alone:
        shift = np.zeros(records)
    columns["perplexity"] = np.where(known, normal(0.2, 0.02), 3.7 - 0.5 * (shift + strength))
    ranked = records if RANKED is None else min(records, RANKED)
    own = (shift + normal(0, 1))[generator.permutation(records)[:ranked]]
    twin_strengths = generator.normal(0, 1, (ranked, twins))
    lower = np.asarray(twin_strengths > own[:, None], dtype=np.float64)
    columns["exposure_rank"] = np.array([stopped_rank(row, twins)[0] for row in lower]) / (twins + 1)
    strengths = np.where(known, normal(0.92, 0.03), generator.exponential(0.03, records))
    columns["extraction_strength"] = np.clip(strengths, 0, 1)
    columns["verbatim_recall"] = np.clip(normal(np.where(known, 0.95, 0.3), 0.08), 0, 1)
    columns["cloze"] = generator.binomial(4, np.where(known, 0.9, 0.02)) / 4
    (own_draws,) = generator.spawn(1)  # the draws of the other figures stay what they were
    sampled = own_draws.permutation(records)[:SAMPLED]
    columns["leaks"] = own_draws.binomial(SAMPLES, np.where(known, 0.5, 0.001)[sampled]).astype(np.float64)
    return columns


def _figures(columns: dict[str, Values], seed: int, of: str, resamples: int, twins: int) -> dict[str, Figure]:
    through = {"perplexity": perplexity, "perplexity_ratio": perplexity}
    ranges = {"perplexity": AMOUNT, "perplexity_ratio": CHANGE}
    figures: dict[str, Figure] = {}
    for ranked in (False, True):
        means = {
            figure: (values, np.ones(len(values)))
            for figure, values in columns.items()
            if figure not in (*JUDGED_ATTACKS, "leaks") and (figure == "exposure_rank") == ranked
        }
        if means:
            figures |= weighted_means(means, Resamples(seed, of, resamples), through=through, ranges=ranges)
    for mean, name in HIGHEST.items():
        if mean in columns:
            highest = float(columns[mean].max())
            figures[name] = Figure(value=highest, low=highest, high=highest, records=len(columns[mean]))
    if "leaks" in columns:
        value, low, high = highest_rate(columns["leaks"], SAMPLES, level=0.95)
        figures["leak_rate_highest"] = Figure(value=value, low=low, high=high, records=len(columns["leaks"]))
    if "exposure_rank" in columns:
        ranks = columns["exposure_rank"] * (twins + 1)
        figures["exposure_p"] = Figure(value=mean_rank_p_value(ranks, twins), low=None, high=None, records=len(ranks))
    return figures


def _attacks(members: Values, non_members: Values) -> dict[str, Attack]:
    """Returns the attacks on scores (attacks, m) and (attacks, n), with the figures that verdicts use."""
    auc, _ = delong(members, non_members)
    low, high = joint_interval(members, non_members, level=joint_level(len(JUDGED_ATTACKS)))
    own_low, own_high = joint_interval(members, non_members, level=joint_level(1))
    attacks = {}
    for index, name in enumerate(JUDGED_ATTACKS):
        ends = float(low[index]), float(high[index])
        own = {"low": float(own_low[index]), "high": float(own_high[index])}
        figure = Figure(value=float(auc[index]), **own, records=members.shape[1])
        attacks[name] = Attack(auc=figure, tpr_at_1_fpr=figure, tpr_at_5_fpr=figure, roc=[], joint=ends)
    return attacks


@cache
def verdict_rates(leak: Leak, records: int, *, trials: int, resamples: int = RESAMPLES) -> dict[str, dict[str, float]]:
    """Returns the shares of trials that ended `passed`, `failed`, `not_judged`, as a `whole` and in each part.

    Equal for equal arguments.
    """
    generator = np.random.default_rng([records, *leak.name.encode()])
    counts: dict[str, Counter[str]] = {name: Counter() for name in ("whole", *get_args(Part))}
    for _ in range(trials):
        judgement = run_trial(leak, records, generator, resamples=resamples)
        counts["whole"][judgement.verdict] += 1
        for part, verdict in judgement.parts.items():
            counts[part][verdict.result] += 1
    return {name: {result: counted[result] / trials for result in RESULTS} for name, counted in counts.items()}


def nothing_to_forget_rate(leak: Leak, records: int, *, trials: int, resamples: int = RESAMPLES) -> float:
    """Returns the share of trials whose dry run ends as `nothing_to_forget`; equal for equal arguments."""
    generator = np.random.default_rng([records, *leak.name.encode()])
    counts = Counter(preview_outcome(leak, records, generator, resamples=resamples) for _ in range(trials))
    return counts["nothing_to_forget"] / trials


def preview_table(trials: int) -> str:
    """Returns a row for each model, a column for each number of records: `nothing_to_forget`, in percent."""
    lines = [
        ["the model", *(f"{size} record{'s' * (size > 1)}" for size in PREVIEWED)],
        ["---", *("---:" for _ in PREVIEWED)],
    ]
    lines += [
        [leak.name, *(f"{100 * nothing_to_forget_rate(leak, size, trials=trials):.3g}" for size in PREVIEWED)]
        for leak in (*MODELS, BLATANT)
    ]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def verdict_table(trials: int, name: str = "whole", sizes: tuple[int, ...] = SIZES) -> str:
    """Returns a row for each model, a column for each number of records: passed / failed / not judged in percent.

    `name` is `whole`, or a part of the verdict.
    """
    lines = [["the model", *(f"{size} record{'s' * (size > 1)}" for size in sizes)]]
    lines.append(["---", *("---:" for _ in sizes)])
    for leak in MODELS:
        cells = []
        for size in sizes:
            shares = verdict_rates(leak, size, trials=trials)[name]
            cells.append(" / ".join(f"{100 * share:.3g}" for share in shares.values()))
        lines.append([leak.name, *cells])
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.verdicts")
    parser.add_argument("--trials", type=int, default=300)
    parser.add_argument("--without-previews", action="store_true", help="leave the table of dry runs as it is")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    flag = " --without-previews" if arguments.without_previews else ""
    text = (
        f"Made by `python -m benchmarks.verdicts --trials {arguments.trials}{flag}`: so many trials in each cell,"
        f" {UNSEEN} unseen records; passed / failed / not judged, in percent.\n\n{verdict_table(arguments.trials)}"
        "\n\nThe part `extraction` of the same verdicts:"
        f"\n\n{verdict_table(arguments.trials, 'extraction', FEW_RECORDS)}"
        f"\n\nThe part `membership`:\n\n{verdict_table(arguments.trials, 'membership', FEW_RECORDS)}"
    )
    sections = {MARK: text}
    if not arguments.without_previews:
        sections[PREVIEW_MARK] = (
            f"Made by `python -m benchmarks.verdicts --trials {arguments.trials}`: of how many in a hundred such models"
            f" a dry run says `nothing_to_forget`.\n\n{preview_table(arguments.trials)}"
        )
    if arguments.out is None:
        print("\n\n".join(sections.values()))
    else:
        for mark, section in sections.items():
            replace_section(arguments.out, mark, section)


if __name__ == "__main__":
    main()
