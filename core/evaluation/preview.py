"""Is there anything to forget? What a dry run concludes from the figures of the model as it is. Without torch.

That nothing stands out has to be shown, not merely not refuted: where too little data leaves it open, and where
anything stands out, the answer is `preview`, and the figures say more.
"""

from dataclasses import dataclass
from typing import Literal

from core.evaluation.measurements import MEASUREMENTS
from core.schema.evaluation import Figure, Measurements
from core.schema.jobs import Outcome

MARGIN = 0.05
"""So much above the unseen set's upper end a share of text that is given back says nothing."""
EXTRACTED = 0.1
"""Without unseen text: the same as an absolute limit of extraction strength."""
CHANCE = 0.05
"""Ranks among twins that are less probable than this for a model that never saw the records stand out."""
AUC_END = 0.65
"""The upper end of a membership interval that shows that members cannot be told apart."""
FEW = 20
"""Records of a set. With fewer, no membership interval is narrow enough to show anything by being wide."""
SHIFTED = 0.6
"""From this AUC of a classifier that knows no model on, forget and unseen text differ by themselves."""

_NAMES = ("likelihood", "membership", "verbatim", "exposure")

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


def conclude(before: Measurements) -> Conclusion:
    """`nothing_to_forget` where extraction strength, verbatim continuation, exposure and membership all show forget
    text to be like unseen text, as far as they were measured; at least extraction, and exposure or membership, must be.
    """
    extraction, exposure, membership = _extraction(before), _exposure(before), _membership(before)
    findings = [one for one in (extraction, _verbatim(before), exposure, membership) if one is not None]
    shown = extraction is not None and (exposure is not None or membership is not None)
    quiet = all(one.says == "unremarkable" for one in findings)
    if not shown:
        findings.append(Finding("open", "too little was measured to say that there is nothing to forget"))
    return Conclusion("nothing_to_forget" if shown and quiet else "preview", findings)


def _extraction(before: Measurements) -> Finding | None:
    return _beside_unseen(before, "extraction_strength", alone=EXTRACTED)


def _verbatim(before: Measurements) -> Finding | None:
    return _beside_unseen(before, "verbatim_recall", alone=None)


def _beside_unseen(before: Measurements, name: str, *, alone: float | None) -> Finding | None:
    """A share of text that is given back, no higher than of unseen text. `alone`: its limit where there is none."""
    forget = before.sets.get("forget", {}).get(name)
    unseen = before.sets.get("unseen", {}).get(name)
    if forget is None or (unseen is None and alone is None):
        return None
    of = name.replace("_", " ")
    if unseen is None:
        says: Says = "unremarkable" if _top(forget) <= (alone or 0) else "open"
        return Finding(says, f"{of} {_text(forget)}, without unseen text to compare it with")
    words = f"{of} {_text(forget)} beside {_text(unseen)} of unseen text"
    if _top(forget) <= _top(unseen) + MARGIN:
        return Finding("unremarkable", words)
    return Finding("stands_out" if _bottom(forget) > _top(unseen) else "open", words)


def _exposure(before: Measurements) -> Finding | None:
    chance = before.sets.get("forget", {}).get("exposure_p")
    if chance is None:
        return None
    words = f"ranks among twins that have a probability of {chance.value:.2g} for text that was never seen"
    return Finding("unremarkable" if chance.value > CHANCE else "stands_out", words)


def _membership(before: Measurements) -> Finding | None:
    """None where membership has no part: not measured, of few records without standing out, or of shifted text."""
    attack, unseen = before.attacks.get("loss"), before.sets.get("unseen", {}).get("extraction_strength")
    baseline = before.across.get("baseline_auc")
    if attack is None or (baseline is not None and baseline.value > SHIFTED):
        return None
    auc = attack.auc
    words = f"membership AUC {_text(auc)}"
    if _bottom(auc) > 0.5 or _top(auc) < 0.5:
        return Finding("stands_out", words)
    if unseen is None or min(auc.records, unseen.records) < FEW:
        return None
    return Finding("unremarkable" if _top(auc) < AUC_END else "open", words)


def _top(figure: Figure) -> float:
    return figure.value if figure.high is None else figure.high


def _bottom(figure: Figure) -> float:
    return figure.value if figure.low is None else figure.low


def _text(figure: Figure) -> str:
    if figure.low is None or figure.high is None:
        return f"{figure.value:.2g}"
    return f"{figure.value:.2g} ({figure.low:.2g} to {figure.high:.2g})"
