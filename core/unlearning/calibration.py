"""The forget term of calibrated unlearning: targets from unseen records, and the distance to them.

The approximate-retraining principle (arXiv 2402.15159, section 4.2): a model that never saw a text treats it like other
unseen text. So the targets are the reference model's losses on unseen records.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from core.lm.losses import per_record_mean
from core.unlearning.tokenized_set import TokenizedSet

if TYPE_CHECKING:
    from core.unlearning.objective import Rows


def match_by_rank(forget: Tensor, unseen: Tensor) -> Tensor:
    """For each forget record the unseen record of the same rank: mean losses (F,) and (U,) -> (F,) in [0, U).

    Rank r of F gets the unseen record at quantile (r + 1/2) / F; equal losses keep the records' order.
    """
    rank = forget.argsort(stable=True).argsort()
    place = torch.div((2 * rank + 1) * len(unseen), 2 * len(forget), rounding_mode="floor")
    return unseen.argsort(stable=True)[place]


def quantiles(values: Tensor, count: int) -> Tensor:
    """The quantiles (i + 1/2) / count of values (m, ...): (count, ...), ascending; all values where count = m."""
    middles = 2 * torch.arange(count, device=values.device) + 1
    place = torch.div(middles * len(values), 2 * count, rounding_mode="floor")
    return values.sort(dim=0).values[place]


def records_to_move(forget: Tensor, unseen: Tensor) -> Tensor:
    """Returns the forget records that are likelier than the unseen record of their rank: (F,), (U,) -> (K,), ascending.

    Every other record is treated like text that the model never saw, and a target would teach it. Ranks are those
    among the returned records, which therefore take the whole range of the unseen records' losses.
    """
    records = torch.arange(len(forget), device=forget.device)
    while len(records):
        likelier = forget[records] < unseen[match_by_rank(forget[records], unseen)]
        if bool(likelier.all()):
            break
        records = records[likelier]
    return records


class CalibratedTerm:
    """The distance of each forget record's token losses and entropies from those of the unseen record of its rank.

    Losses alone leave a model that is sure of nothing where it must not be sure of the truth, while on unseen text it
    is sure of wrong tokens. Min-k++ shows the difference, since it compares a token's loss with the prediction's
    entropy; so entropies have targets, too.

    Forgetting also changes how a model treats unseen text: it grows less sure, and the tail of very improbable tokens
    that unseen text has under the reference model becomes thin. Targets from the reference model alone would keep that
    tail in the forget set, where min-k shows it. So the share `following` of each target moves with the model: it is
    the value of the same unseen record under the weights before the update. No retain term keeps those records.

    A forget record that the reference model treats like unseen text already adds nothing.
    """

    def __init__(
        self,
        forget: TokenizedSet,
        unseen: TokenizedSet,
        *,
        reference: Callable[[TokenizedSet], Tensor],
        current: Callable[[TokenizedSet, Sequence[int]], Tensor],
        following: float,
        entropy_weight: float,
        smoothing: float,
    ) -> None:
        """`reference(tokenized)` returns all token losses and entropies under the reference model, (M, 2);
        `current(tokenized, records)` those of the given records, in their order, under the present weights."""
        self._unseen, self._current = unseen, current
        self._following, self._entropy_weight, self._smoothing = following, entropy_weight, smoothing
        forget_values, unseen_values = reference(forget), reference(unseen)
        self._forget_counts: list[int] = torch.bincount(forget.record).tolist()  # rows of each record
        self._unseen_counts: list[int] = torch.bincount(unseen.record).tolist()
        self._starts = [0, *torch.tensor(self._forget_counts).cumsum(0).tolist()]
        forget_means = per_record_mean(forget_values[:, 0], forget.record, len(forget))
        unseen_means = per_record_mean(unseen_values[:, 0], unseen.record, len(unseen))
        moved = records_to_move(forget_means, unseen_means)
        self._match: dict[int, int] = dict(
            zip(moved.tolist(), match_by_rank(forget_means[moved], unseen_means).tolist(), strict=True)
        )
        """For each record to move, the unseen record that gives its targets."""
        record_values = torch.split(unseen_values, self._unseen_counts)
        self._reference_targets = torch.cat(
            [
                quantiles(record_values[self._match.get(record, 0)], count)
                for record, count in enumerate(self._forget_counts)
            ]
        )  # (M, 2) each column ascending within a forget record
        self._moves = torch.isin(forget.record, moved)  # (M,)
        self._targets = self._reference_targets.clone()

    def update_targets(self, records: Sequence[int]) -> None:
        """Sets the targets of these forget records by the present weights. All ranks call it with the same records."""
        if not self._following:
            return
        records = [record for record in records if record in self._match]
        if not records:
            return
        matches = sorted({self._match[record] for record in records})
        values = torch.split(self._current(self._unseen, matches), [self._unseen_counts[match] for match in matches])
        match_values = dict(zip(matches, values, strict=True))
        for record in records:
            rows = slice(self._starts[record], self._starts[record + 1])
            current_targets = quantiles(match_values[self._match[record]], self._forget_counts[record])
            self._targets[rows] = torch.lerp(self._reference_targets[rows], current_targets, self._following)

    def __call__(self, rows: "Rows") -> Tensor:
        losses, entropies = self._targets[rows.index].unbind(1)
        distance = transport_distance(rows.loss, losses, rows.record, self._smoothing)
        if self._entropy_weight:
            entropy_distance = transport_distance(rows.entropy, entropies, rows.record, self._smoothing)
            distance = distance + self._entropy_weight * entropy_distance
        return distance * self._moves[rows.index]


def transport_distance(values: Tensor, targets: Tensor, record: Tensor, smoothing: float) -> Tensor:
    """huber(sort(v(x))_i - target_i) for each record x, at the record's i-th row: (N,).

    huber(d) is d² / 2δ up to |d| = δ = `smoothing`, and |d| - δ/2 beyond (Huber, 1964); with δ = 0 it is |d|. Its mean
    over a record is the transport cost between the record's values, such as token losses, and the targets: of all ways
    to pair the two, the ascending orders cost least, as huber is convex. Unlike |d|, its gradient fades at the target,
    so that records which arrived there stop disturbing the text to keep.
    values (N,), targets (N,) ascending within a record, record (N,) ascending; all rows of a record are present.
    """
    by_value = values.detach().argsort(stable=True)
    order = by_value[record[by_value].argsort(stable=True)]  # by record, then by value
    distance = (values[order] - targets).abs()
    if not smoothing:
        return distance
    return torch.where(distance < smoothing, distance.square() / (2 * smoothing), distance - smoothing / 2)
