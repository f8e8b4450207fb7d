"""Attacks that tell members (the forget set) from non-members (the unseen set) by what the model says of their text.

Every attack gives a record a score; higher means more like a member. Its AUC is signed and never flipped: under 0.5 the
forget set stands out too, as text that is *less* familiar than what was never seen.
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from core.evaluation.auc import FEW, joint_interval, joint_level, newcombe
from core.evaluation.bootstrap import Counts, Resamples, Values, interval, rows_at_once
from core.lm.statistics import TokenStatistics
from core.schema.evaluation import JUDGED_ATTACKS, Attack, Figure
from core.schema.files import Record

SHARES = (5, 10, 20, 30, 40, 50, 60, 100)
"""Percent of a record's tokens that `min_k` and `min_k++` look at."""

_LEAST_DEVIATION = 1e-6
_ROC_POINTS = 200


def scores(statistics: Sequence[TokenStatistics], records: Sequence[Record]) -> dict[str, Values]:
    """Each attack's score of each record, (records,), by the attack's name.

    `loss` (Yeom et al. 2018): -CE. `zlib` (Carlini et al. 2021): -CE per byte of the compressed scored text.
    `min_k_20` (Shi et al. 2024): mean of the lowest max(1, floor(20 % of n)) token log-probabilities, the last token
    included. `min_k++_20` (Zhang et al. 2025): the same of (log p - mean) / deviation under the model's distribution.
    """
    loss = np.array([one.log_probability.mean() for one in statistics])
    found = {"loss": loss, "zlib": loss / np.array([len(zlib.compress(scored_text(one))) for one in records])}
    plain = [np.sort(one.log_probability) for one in statistics]
    standardised = [
        np.sort((one.log_probability - one.mean) / np.maximum(one.deviation, _LEAST_DEVIATION)) for one in statistics
    ]
    for share in SHARES:
        found[f"min_k_{share}"] = np.array([_lowest(one, share) for one in plain])
        found[f"min_k++_{share}"] = np.array([_lowest(one, share) for one in standardised])
    return found


def scored_text(record: Record) -> bytes:
    """The text whose tokens are scored, in UTF-8: the whole, the completion, or the last assistant turn."""
    if record.messages is not None:
        return record.messages[-1].content.encode()
    return (record.text if record.text is not None else record.completion or "").encode()


def _lowest(ascending: Values, share: int) -> float:
    return float(ascending[: max(1, len(ascending) * share // 100)].mean())


def attack(members: Values, others: Values, resamples: Resamples, *, judged: int = len(JUDGED_ATTACKS)) -> Attack:
    """AUC, true positive rate at 1 % and 5 % false positives, ROC: of scores (m,) and (n,), each at least one.

    Members and others are resampled apart. Under `FEW` records in a set the AUC's interval is widened to hold
    Newcombe's as well; a rate of a single record has none. `joint` is for a verdict on `judged` attacks together.
    """
    ranking = _Ranking.of(members, others)
    resampled = _resampled(ranking, resamples)
    whole = ranking.curve(np.ones((1, len(members))), np.ones((1, len(others))))
    few = min(len(members), len(others))

    def figure(name: str) -> Figure:
        value = float(whole[name][0])
        low, high = interval(resampled[name])
        if name == "auc" and few < FEW:
            wide = newcombe(whole[name][0], len(members), len(others))
            low, high = min(low, float(wide[0])), max(high, float(wide[1]))
        known = name == "auc" or few > 1
        return Figure(value=value, low=low if known else None, high=high if known else None, records=len(members))

    low, high = joint_interval(members, others, level=joint_level(judged))
    return Attack(
        auc=figure("auc"),
        tpr_at_1_fpr=figure("tpr_at_1_fpr"),
        tpr_at_5_fpr=figure("tpr_at_5_fpr"),
        roc=ranking.roc(),
        joint=(float(low), float(high)),
    )


@dataclass(frozen=True, eq=False)
class _Ranking:
    """Both sets' scores, ranked from the highest; equal scores are one threshold."""

    order: NDArray[np.intp]  # (m + n,) members first, then others
    starts: NDArray[np.intp]  # (thresholds,) where each threshold's records begin in `order`
    members: int
    others: int

    @classmethod
    def of(cls, members: Values, others: Values) -> "_Ranking":
        scores = np.concatenate([members, others])
        order = np.argsort(-scores, kind="stable")
        ranked = scores[order]
        starts = np.flatnonzero(np.concatenate([[True], ranked[1:] != ranked[:-1]]))
        return cls(order, starts, len(members), len(others))

    def rates(self, members: Counts, others: Counts) -> tuple[Values, Values]:
        """(B, m) and (B, n) counts -> (true, false) positive rates at every threshold, (B, thresholds) each."""
        true = np.concatenate([members, np.zeros_like(others)], axis=1)[:, self.order]
        false = np.concatenate([np.zeros_like(members), others], axis=1)[:, self.order]
        true = np.add.reduceat(true, self.starts, axis=1).cumsum(axis=1) / self.members
        false = np.add.reduceat(false, self.starts, axis=1).cumsum(axis=1) / self.others
        return true, false

    def curve(self, members: Counts, others: Counts) -> dict[str, Values]:
        """Each figure for each of B resamples: (B,)."""
        true, false = self.rates(members, others)
        start = np.zeros((len(true), 1))
        true, false = np.hstack([start, true]), np.hstack([start, false])
        # The area by trapezoids is P(member > other) + P(equal) / 2.
        found = {"auc": (np.diff(false, axis=1) * (true[:, 1:] + true[:, :-1])).sum(axis=1) / 2}
        for percent in (1, 5):
            # The highest rate among thresholds within the limit; the tolerance is for the division's rounding.
            allowed = false <= percent / 100 + 1e-9
            last = allowed.sum(axis=1) - 1
            found[f"tpr_at_{percent}_fpr"] = true[np.arange(len(true)), last]
        return found

    def roc(self) -> list[tuple[float, float]]:
        """(false, true) positive rates from (0, 0) to (1, 1), at most 200 of them, and none inside a straight."""
        true, false = self.rates(np.ones((1, self.members)), np.ones((1, self.others)))
        points = np.vstack([[0.0, 0.0], np.stack([false[0], true[0]], axis=1)])
        step = np.diff(points, axis=0)
        straight = step[:-1, 0] * step[1:, 1] == step[:-1, 1] * step[1:, 0]
        points = points[np.concatenate([[True], ~straight, [True]])]
        kept = np.unique(np.linspace(0, len(points) - 1, min(len(points), _ROC_POINTS)).round().astype(int))
        return [(float(x), float(y)) for x, y in points[kept]]


def _resampled(ranking: _Ranking, resamples: Resamples) -> dict[str, Values]:
    rows = rows_at_once(ranking.members + ranking.others)
    members = Resamples(resamples.seed, f"{resamples.name}/members", resamples.count).blocks(ranking.members, rows=rows)
    others = Resamples(resamples.seed, f"{resamples.name}/others", resamples.count).blocks(ranking.others, rows=rows)
    blocks = [ranking.curve(of_members, of_others) for of_members, of_others in zip(members, others, strict=True)]
    return {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}
