"""Is there anything to forget? What a dry run concludes from the figures of the model as it is. Without torch.

That nothing stands out has to be shown, not merely not refuted: by equivalence, as a verdict has it. Where too little
data leaves it open, and where anything stands out, the answer is `preview`, and the figures say more.
"""

import math
from dataclasses import dataclass
from typing import Any, Literal

from core.evaluation.measurements import MEASUREMENTS
from core.evaluation.stats.comparison import FEW, Compared, compared, unsure, widened
from core.schema.evaluation import Figure, MeasurementChoice, Measurements
from core.schema.jobs import Outcome

MARGIN = 0.05
"""So much more of its text than of unseen text given back says nothing, where the whole interval is under it."""
HIGHEST = 0.3
"""The same of the one record that is given back most: a mean over many hides it. More stands out, however unsure."""
EXTRACTED = 0.1
"""Without unseen text: the same as an absolute limit of extraction strength."""
CHANCE = 0.05
"""Ranks among twins that are less probable than this for a model that never saw the records stand out."""
RANK = 0.3
"""The least that the lower end of the mean rank among twins may be where nothing stands out: of a record that is
likelier than its twins by an AUC of 0.7. In a model that never saw the records it is 0.5."""
NEVER_SEEN = 0.5
"""That mean rank. Records well above it stand out as less known than their twins: made to be forgotten before."""
AUC_END = 0.65
"""The upper end of a membership interval that shows that members cannot be told apart."""
SHIFTED = 0.6
"""From this AUC of a classifier that knows no model on, forget and unseen text differ by themselves."""

TWINS = 19
"""Of each record: a rank among so many tells nearly as much of a mean rank as one among 99, in a fifth of the time."""
SECONDS = 120.0
"""Of each measurement that looks at one record after the other: what it leaves out, `cut_short` says."""

_NAMES = ("likelihood", "membership", "verbatim", "exposure")
_BUDGETS: dict[str, dict[str, Any]] = {
    "likelihood": {"only": ["forget", "unseen"]},
    "verbatim": {"seconds": SECONDS},
    "exposure": {"twins": TWINS, "control": False, "seconds": SECONDS},
}

_NEVER_SEEN_RANKS = Figure(value=0.5, low=0.5 - 1.96 / math.sqrt(1200), high=0.5 + 1.96 / math.sqrt(1200), records=100)
"""Of 100 records that the model never saw: each rank is as probable as any other, a deviation of 1 / sqrt(12). It tells
how far ranks lie apart where no unseen records were ranked."""

Says = Literal["stands_out", "unremarkable", "open"]


@dataclass(frozen=True)
class Finding:
    """What one figure says, in words."""

    says: Says
    words: str


@dataclass(frozen=True)
class Conclusion:
    outcome: Outcome
    findings: list[Finding]

    @property
    def words(self) -> str:
        """All findings, those that stand out first."""
        order: list[Says] = ["stands_out", "open", "unremarkable"]
        return "; ".join(one.words for one in sorted(self.findings, key=lambda one: order.index(one.says)))


def measured() -> list[str]:
    """The measurements that a dry run makes."""
    return [name for name in _NAMES if name in MEASUREMENTS]


def choices() -> list[str | MeasurementChoice]:
    """The same on a dry run's budget: of the sets that it concludes from, with few twins, for so long at most."""
    return [
        MeasurementChoice.model_validate({"name": name, **_BUDGETS[name]}) if name in _BUDGETS else name
        for name in measured()
    ]


def conclude(before: Measurements) -> Conclusion:
    """`nothing_to_forget` where extraction strength, verbatim continuation, exposure and membership all show forget
    text to be like unseen text, as far as they were measured; at least extraction, and exposure or membership, must be.
    """
    extraction, exposure, membership = _extraction(before), _exposure(before), _membership(before)
    findings = [one for one in (extraction, _highest(before), _verbatim(before), exposure, membership) if one]
    shown = extraction is not None and (exposure is not None or membership is not None)
    quiet = all(one.says == "unremarkable" for one in findings)
    if not shown:
        findings.append(Finding("open", "too little was measured to say that there is nothing to forget"))
    elif not quiet and (wanting := _wanting(before)):
        findings.append(Finding("open", wanting))
    return Conclusion("nothing_to_forget" if shown and quiet else "preview", findings)


def _wanting(before: Measurements) -> str | None:
    """What would have to be known, where there are too few records to show anything."""
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
    """None without unseen text, and of one record, whose highest is its mean."""
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
    """A share of text that is given back, no higher than of unseen text. `alone`: its limit where there is none."""
    forget = before.sets.get("forget", {}).get(name)
    unseen = before.sets.get("unseen", {}).get(name)
    if forget is None or (unseen is None and alone is None):
        return None
    of = name.replace("_", " ")
    sure = widened(forget, unseen, "difference")
    if unseen is None:
        says: Says = "unremarkable" if sure.high is not None and sure.high <= (alone or 0) else "open"
        return Finding(says, f"{of} {_text(forget)}, without unseen text to compare it with")
    words = f"{of} {_text(forget)} beside {_text(unseen)} of unseen text"
    return Finding(_higher(compared(sure, _yardstick(unseen), "difference"), margin), words)


def _yardstick(unseen: Figure) -> Figure:
    return unseen if unseen.records >= FEW else unsure(unseen)


def _higher(difference: Compared, margin: float) -> Says:
    """Of forget text's figure less that of unseen text."""
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
    sure = widened(rank, before.sets.get("unseen", {}).get("exposure_rank", _NEVER_SEEN_RANKS), "difference")
    words = (
        f"mean rank among twins {_text(sure)}, of a probability of {chance.value:.2g} for text that was never seen"
        f" (nothing stands out from a lower end of {RANK:g} on)"
    )
    suppressed = sure.low is not None and sure.low > NEVER_SEEN
    if chance.value <= CHANCE or suppressed:
        return Finding("stands_out", words)
    return Finding("unremarkable" if sure.low is not None and sure.low >= RANK else "open", words)


def _membership(before: Measurements) -> Finding | None:
    """None where membership has no part: not measured, of few records without standing out, or of shifted text."""
    attack, unseen = before.attacks.get("loss"), before.sets.get("unseen", {}).get("extraction_strength")
    baseline = before.across.get("baseline_auc")
    if attack is None or (baseline is not None and baseline.value > SHIFTED):
        return None
    auc = attack.auc
    words = f"membership AUC {_text(auc)}"
    if auc.low is None or auc.high is None:
        return Finding("open", words)
    if auc.low > 0.5 or auc.high < 0.5:
        return Finding("stands_out", words)
    if unseen is None or min(auc.records, unseen.records) < FEW:
        return None
    return Finding("unremarkable" if auc.high < AUC_END else "open", words)


def _text(figure: Figure) -> str:
    if figure.low is None or figure.high is None:
        return f"{figure.value:.2g}"
    return f"{figure.value:.2g} ({figure.low:.2g} to {figure.high:.2g})"
