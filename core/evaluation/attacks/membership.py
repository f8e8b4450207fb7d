"""Membership inference attacks: tell members (the forget set) from non-members (the unseen set) by token statistics.

Every attack gives a record a score; higher means more like a member. The AUC is signed and never flipped: under 0.5 the
forget set stands out too, as text that is *less* familiar than text that was never seen.
"""

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from core.evaluation.stats.auc import FEW, joint_interval, joint_level, newcombe
from core.evaluation.stats.bootstrap import Counts, Resamples, Values, interval, rows_at_once
from core.lm.token_statistics import TokenStatistics
from core.schema.evaluation import JUDGED_ATTACKS, Attack, Figure
from core.schema.record import Record

SHARES = (5, 10, 20, 30, 40, 50, 60, 100)
"""Percent of a record's tokens that `min_k` and `min_k++` average."""

_LEAST_DEVIATION = 1e-6
_ROC_POINTS = 200


def scores(statistics: Sequence[TokenStatistics], records: Sequence[Record]) -> dict[str, Values]:
    """Scores of the records, (records,), by the attack's name.

    `loss` (Yeom et al. 2018): -CE. `zlib` (Carlini et al. 2021): -CE per byte of the compressed scored text.
    `min_k_20` (Shi et al. 2024): mean of the lowest max(1, floor(20 % of n)) token log-probabilities, the last token
    included. `min_k++_20` (Zhang et al. 2025): the same of (log p - mean) / deviation under the model's distribution.
    """
    loss = np.array([tokens.log_probability.mean() for tokens in statistics])
    compressed = [len(zlib.compress(record.scored_text.encode())) for record in records]
    by_attack = {"loss": loss, "zlib": loss / np.array(compressed)}
    plain = [np.sort(tokens.log_probability) for tokens in statistics]
    standardised = [
        np.sort((tokens.log_probability - tokens.mean) / np.maximum(tokens.deviation, _LEAST_DEVIATION))
        for tokens in statistics
    ]
    for share in SHARES:
        by_attack[f"min_k_{share}"] = np.array([_lowest(values, share) for values in plain])
        by_attack[f"min_k++_{share}"] = np.array([_lowest(values, share) for values in standardised])
    return by_attack


def _lowest(ascending: Values, share: int) -> float:
    return float(ascending[: max(1, len(ascending) * share // 100)].mean())


def evaluate_attack(
    members: Values, non_members: Values, resamples: Resamples, *, judged: int = len(JUDGED_ATTACKS)
) -> Attack:
    """AUC, true positive rate at 1 % and 5 % false positives, and ROC of scores (m,) and (n,), at least one each.

    Members and non-members are resampled independently. Under `FEW` records in a set the AUC's interval is widened to
    hold Newcombe's interval too; a rate has no interval where a set has a single record. `joint` is the interval for a
    verdict on `judged` attacks together.
    """
    ranking = _Ranking.from_scores(members, non_members)
    measured = ranking.figures(np.ones((1, len(members))), np.ones((1, len(non_members))))
    blocks = [ranking.figures(*counts) for counts in _counts(len(members), len(non_members), resamples)]
    resampled = {name: np.concatenate([block[name] for block in blocks]) for name in measured}

    def rate(name: str) -> Figure:
        low, high = interval(resampled[name]) if min(len(members), len(non_members)) > 1 else (None, None)
        return Figure(value=float(measured[name][0]), low=low, high=high, records=len(members))

    low, high = joint_interval(members, non_members, level=joint_level(judged))
    return Attack(
        auc=_auc(measured["auc"][0], resampled["auc"], len(members), len(non_members)),
        tpr_at_1_fpr=rate("tpr_at_1_fpr"),
        tpr_at_5_fpr=rate("tpr_at_5_fpr"),
        roc=_roc(members, non_members),
        joint=(float(low), float(high)),
    )


def bootstrap_auc(members: Values, non_members: Values, resamples: Resamples) -> tuple[Figure, Values]:
    """The AUC with its interval, and its value in each resample, (R,), so that two models can be compared."""
    ranking = _Ranking.from_scores(members, non_members)
    measured = ranking.auc(np.ones((1, len(members))), np.ones((1, len(non_members))))
    blocks = [ranking.auc(*counts) for counts in _counts(len(members), len(non_members), resamples)]
    resampled = np.concatenate(blocks)
    return _auc(measured[0], resampled, len(members), len(non_members)), resampled


def _auc(value: np.float64, resampled: Values, members: int, non_members: int) -> Figure:
    low, high = interval(resampled)
    if min(members, non_members) < FEW:
        wide = newcombe(np.asarray(value), members, non_members)
        low, high = min(low, float(wide[0])), max(high, float(wide[1]))
    return Figure(value=float(value), low=low, high=high, records=members)


@dataclass(frozen=True, eq=False)
class _Ranking:
    """The order of all scores, computed once: a resample only counts anew."""

    members: NDArray[np.intp]  # (m,) ascending by score
    non_members: NDArray[np.intp]  # (n,) descending by score
    below: NDArray[np.intp]  # (n,) how many members score less than each of `non_members`, in its order
    up_to: NDArray[np.intp]  # (n,) how many members score no more

    @classmethod
    def from_scores(cls, members: Values, non_members: Values) -> "_Ranking":
        ascending, descending = np.argsort(members, kind="stable"), np.argsort(-non_members, kind="stable")
        ranked, thresholds = members[ascending], non_members[descending]
        below, up_to = (np.searchsorted(ranked, thresholds, side) for side in ("left", "right"))
        return cls(ascending, descending, below, up_to)

    def figures(self, members: Counts, non_members: Counts) -> dict[str, Values]:
        """Each figure in each of B resamples, given as counts (B, m) and (B, n): (B,)."""
        lowest, non_members = self._lowest_counts(members), non_members[:, self.non_members]
        figures = {"auc": self._auc(lowest, non_members)}
        false = non_members.cumsum(axis=1)
        for percent in (1, 5):
            # The first non-member that a threshold must exceed; the tolerance is for the rounding of the product.
            first = (false > percent / 100 * non_members.shape[1] + 1e-6).argmax(axis=1)
            missed = lowest[np.arange(len(lowest)), self.up_to[first]]
            figures[f"tpr_at_{percent}_fpr"] = 1 - missed / members.shape[1]
        return figures

    def auc(self, members: Counts, non_members: Counts) -> Values:
        """P(member > non-member) + P(equal) / 2 in each of B resamples, given as counts (B, m) and (B, n): (B,)."""
        return self._auc(self._lowest_counts(members), non_members[:, self.non_members])

    def _auc(self, lowest: Values, non_members: Counts) -> Values:
        count = lowest[0, -1]
        beaten = count - (lowest[:, self.below] + lowest[:, self.up_to]) / 2  # (B, n) members above, equals by half
        return np.asarray((non_members * beaten).sum(axis=1) / (count * non_members.shape[1]))

    def _lowest_counts(self, members: Counts) -> Values:
        """(B, m) -> (B, m + 1): how often the lowest 0, 1, ... m members are in each resample."""
        return np.hstack([np.zeros((len(members), 1)), members[:, self.members].cumsum(axis=1)])


def _roc(members: Values, non_members: Values) -> list[tuple[float, float]]:
    """(false, true) positive rates from (0, 0) to (1, 1): at most 200 points, none inside a straight line."""
    thresholds = np.unique(np.concatenate([members, non_members]))[::-1]
    rates = [1 - np.searchsorted(np.sort(values), thresholds) / len(values) for values in (non_members, members)]
    points = np.vstack([[0.0, 0.0], np.stack(rates, axis=1)])
    step = np.diff(points * [len(non_members), len(members)], axis=0).round()
    straight = step[:-1, 0] * step[1:, 1] == step[:-1, 1] * step[1:, 0]
    points = points[np.concatenate([[True], ~straight, [True]])]
    kept = np.unique(np.linspace(0, len(points) - 1, min(len(points), _ROC_POINTS)).round().astype(int))
    return [(float(x), float(y)) for x, y in points[kept]]


def _counts(members: int, non_members: int, resamples: Resamples) -> Iterator[tuple[Counts, Counts]]:
    """Resamples of both sets, (B, members) and (B, non_members) at a time."""
    rows = rows_at_once(members + non_members)
    member_blocks = Resamples(resamples.seed, f"{resamples.name}/members", resamples.count).blocks(members, rows=rows)
    other_blocks = Resamples(resamples.seed, f"{resamples.name}/others", resamples.count).blocks(non_members, rows=rows)
    return zip(member_blocks, other_blocks, strict=True)
