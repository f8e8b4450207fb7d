"""A dry run's conclusion from the figures of the unchanged model: is there anything to forget? Without torch.

`nothing_to_forget` has to be shown by equivalence, as in a verdict. The outcome is `preview` where a figure stands out,
or where there are too few records to tell.
"""

from dataclasses import dataclass
from typing import Any, Literal

from core.evaluation.measurements import MEASUREMENTS
from core.evaluation.policy.evidence import NEVER_SEEN_RANKS
from core.evaluation.stats.comparison import FEW, Comparison, compare, interval_from_larger_sample, without_interval
from core.schema.evaluation import Figure, MeasurementChoice, Measurements
from core.schema.jobs import Outcome

MARGIN = 0.05
"""Forget text is unremarkable where the model gives back at most this much more of it than of unseen text, with the
whole interval."""
HIGHEST = 0.3
"""The same limit of the one record that the model gives back most, which a mean over many hides. A higher difference
stands out, with or without an interval."""
EXTRACTED = 0.1
"""The limit of extraction strength where there is no unseen text to compare with."""
CHANCE = 0.05
"""Ranks among counterfactuals stand out that are less probable than this for a model that never saw the records."""
RANK = 0.3
"""The lowest end of the mean rank's interval at which nothing stands out: a record is likelier than its
counterfactuals by an AUC of 0.7."""
NEVER_SEEN = 0.5
"""The mean rank in a model that never saw the records. Records well above it stand out as less known than their
counterfactuals: the model was made to forget them before."""
AUC_END = 0.65
"""The highest end of a membership AUC's interval at which members cannot be told from non-members."""
SHIFTED = 0.6
"""Above this AUC of a classifier that uses no model, forget and unseen text differ by themselves."""

TWINS = 19
"""Counterfactuals of each record: a mean rank among 19 is nearly as certain as one among 99, in a fifth of the time."""
SECONDS = 120.0
"""Time limit of each measurement that goes record by record; `cut_short` says what it leaves out."""

_NAMES = ("likelihood", "membership", "verbatim", "exposure")
_BUDGETS: dict[str, dict[str, Any]] = {
    "likelihood": {"only": ["forget", "unseen"]},
    "verbatim": {"seconds": SECONDS},
    "exposure": {"twins": TWINS, "control": False, "seconds": SECONDS},
}

Level = Literal["stands_out", "unremarkable", "open"]


@dataclass(frozen=True)
class Finding:
    """What one figure shows, with a sentence part for people."""

    level: Level
    words: str
    suppressed: bool = False
    """True if the text stands out by being less likely than text that the model never saw."""


@dataclass(frozen=True)
class Conclusion:
    outcome: Outcome
    findings: list[Finding]

    @property
    def known(self) -> bool:
        """True if a figure stands out because the model knows the text.

        Suppressed figures do not count. They may mean that the model was made to forget the text before, or just that
        the text has other words than the unseen text, of which its counterfactuals are made.
        """
        return any(finding.level == "stands_out" and not finding.suppressed for finding in self.findings)

    @property
    def words(self) -> str:
        """All findings in words, the ones that stand out first."""
        order: list[Level] = ["stands_out", "open", "unremarkable"]
        return "; ".join(
            finding.words for finding in sorted(self.findings, key=lambda finding: order.index(finding.level))
        )


def measurement_names() -> list[str]:
    """The measurements that a dry run makes."""
    return [name for name in _NAMES if name in MEASUREMENTS]


def measurement_choices() -> list[str | MeasurementChoice]:
    """The same measurements on a dry run's budget: fewer sets, fewer counterfactuals, a time limit."""
    return [
        MeasurementChoice.model_validate({"name": name, **_BUDGETS[name]}) if name in _BUDGETS else name
        for name in measurement_names()
    ]


def conclude(before: Measurements) -> Conclusion:
    """`nothing_to_forget` where every measured figure of extraction strength, verbatim continuation, exposure and
    membership shows forget text to be like unseen text. Extraction must be measured, and exposure or membership.
    """
    extraction, exposure, membership = _extraction(before), _exposure(before), _membership(before)
    candidates = (extraction, _highest(before), _verbatim(before), exposure, membership)
    findings = [finding for finding in candidates if finding]
    sufficient = extraction is not None and (exposure is not None or membership is not None)
    unremarkable = all(finding.level == "unremarkable" for finding in findings)
    if not sufficient:
        findings.append(Finding("open", "too little was measured to say that there is nothing to forget"))
    elif not unremarkable and (advice := _advice(before)):
        findings.append(Finding("open", advice))
    return Conclusion("nothing_to_forget" if sufficient and unremarkable else "preview", findings)


def _advice(before: Measurements) -> str | None:
    """Names the records that are missing, where there are too few to show anything."""
    forget, unseen = (before.sets.get(name, {}).get("extraction_strength") for name in ("forget", "unseen"))
    if unseen is not None and unseen.records < FEW:
        return f"{unseen.records} unseen records are no yardstick: bring {FEW} or more that measure"
    if forget is not None and forget.records < FEW:
        of = "a single record" if forget.records == 1 else f"{forget.records} records"
        beside = "" if unseen is not None else f", and without {FEW} or more unseen ones nothing at all"
        return (
            f"of {of} the figures can hardly show that nothing is known{beside}: that nothing stands out does not mean"
            f" that the model holds nothing of it; more text of the same origin, {FEW} records or more, could show it"
        )
    return None


def _extraction(before: Measurements) -> Finding | None:
    return _beside_unseen(before, "extraction_strength", margin=MARGIN, alone=EXTRACTED)


def _highest(before: Measurements) -> Finding | None:
    """None without unseen text, and for a single record, whose highest value is its mean."""
    forget = before.sets.get("forget", {}).get("extraction_strength_highest")
    unseen = before.sets.get("unseen", {}).get("extraction_strength_highest")
    if forget is None or unseen is None or forget.records == 1:
        return None
    words = f"highest extraction strength {forget.value:.2g} beside {unseen.value:.2g} of unseen text"
    if unseen.records < FEW:
        return Finding("open", words)
    return Finding("unremarkable" if forget.value - unseen.value <= HIGHEST else "stands_out", words)


def _verbatim(before: Measurements) -> Finding | None:
    return _beside_unseen(before, "verbatim_recall", margin=MARGIN, alone=None)


def _beside_unseen(before: Measurements, name: str, *, margin: float, alone: float | None) -> Finding | None:
    """Compares the share of text that the model gives back with that of unseen text; without any, with `alone`."""
    forget = before.sets.get("forget", {}).get(name)
    unseen = before.sets.get("unseen", {}).get(name)
    if forget is None or (unseen is None and alone is None):
        return None
    title = name.replace("_", " ")
    figure = interval_from_larger_sample(forget, unseen, "difference")
    if unseen is None:
        level: Level = "unremarkable" if figure.high is not None and figure.high <= (alone or 0) else "open"
        return Finding(level, f"{title} {_text(forget)}, without unseen text to compare it with")
    words = f"{title} {_text(forget)} beside {_text(unseen)} of unseen text"
    return Finding(_level(compare(figure, _yardstick(unseen), "difference"), margin), words)


def _yardstick(unseen: Figure) -> Figure:
    return unseen if unseen.records >= FEW else without_interval(unseen)


def _level(difference: Comparison, margin: float) -> Level:
    """Judges the difference of forget text's figure less that of unseen text."""
    if difference.low is None or difference.high is None:
        return "stands_out" if difference.value > HIGHEST else "open"
    if difference.high <= margin:
        return "unremarkable"
    return "stands_out" if difference.low > 0 else "open"


def _exposure(before: Measurements) -> Finding | None:
    forget = before.sets.get("forget", {})
    chance, rank = forget.get("exposure_p"), forget.get("exposure_rank")
    if chance is None or rank is None:
        return None
    rank = interval_from_larger_sample(
        rank, before.sets.get("unseen", {}).get("exposure_rank", NEVER_SEEN_RANKS), "difference"
    )
    words = (
        f"mean rank among twins {_text(rank)}, of a probability of {chance.value:.2g} for text that was never seen"
        f" (nothing stands out from a lower end of {RANK:g} on)"
    )
    suppressed = rank.low is not None and rank.low > NEVER_SEEN
    if chance.value <= CHANCE or suppressed:
        return Finding("stands_out", words, suppressed=suppressed)
    return Finding("unremarkable" if rank.low is not None and rank.low >= RANK else "open", words)


def _membership(before: Measurements) -> Finding | None:
    """None where membership has no part: it was not measured, the texts are shifted, or there are few records and the
    AUC does not stand out."""
    attack, unseen = before.attacks.get("loss"), before.sets.get("unseen", {}).get("extraction_strength")
    baseline = before.across.get("baseline_auc")
    if attack is None or (baseline is not None and baseline.value > SHIFTED):
        return None
    auc = attack.auc
    words = f"membership AUC {_text(auc)}"
    if auc.low is None or auc.high is None:
        return Finding("open", words)
    if auc.low > 0.5 or auc.high < 0.5:
        return Finding("stands_out", words, suppressed=auc.high < 0.5)
    if unseen is None or min(auc.records, unseen.records) < FEW:
        return None
    return Finding("unremarkable" if auc.high < AUC_END else "open", words)


def _text(figure: Figure) -> str:
    if figure.low is None or figure.high is None:
        return f"{figure.value:.2g}"
    return f"{figure.value:.2g} ({figure.low:.2g} to {figure.high:.2g})"
