"""Where calibrated unlearning is to end: which unseen record stands for which forget record, and how far it is from it.

The approximate-retraining principle (arXiv 2402.15159, section 4.2): a model that never saw a text treats it like
other unseen text. So the original's losses on unseen records are the targets.
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

    Rank r of F goes to the record at quantile (r + 1/2) / F of the unseen ones; equal losses keep the records' order.
    """
    rank = forget.argsort(stable=True).argsort()
    place = torch.div((2 * rank + 1) * len(unseen), 2 * len(forget), rounding_mode="floor")
    return unseen.argsort(stable=True)[place]


def quantiles(values: Tensor, count: int) -> Tensor:
    """The quantile function of values (m, ...) at (i + 1/2) / count: (count, ...), ascending; all where count = m."""
    middles = 2 * torch.arange(count, device=values.device) + 1
    place = torch.div(middles * len(values), 2 * count, rounding_mode="floor")
    return values.sort(dim=0).values[place]


class CalibratedTerm:
    """Where each forget record is to end: the token losses and entropies of the unseen record of its rank.

    Losses alone leave a model that is sure of nothing where it must not be sure of the truth, while on text that it
    never saw it is sure of what is wrong: min-k++, which holds a token's loss against the entropy of what was
    predicted, tells. And forgetting changes how a model takes unseen text, too: it grows less sure of itself, and the
    tail of absurdly improbable tokens that unseen text has under the original grows thin; targets of the original alone
    leave that tail in the forget set, where min-k sees it. So `following` of a target is what the same unseen record,
    which nothing else holds on to, comes to under the weights as they are before the update.
    """

    def __init__(
        self,
        forget: TokenizedSet,
        unseen: TokenizedSet,
        *,
        original: Callable[[TokenizedSet], Tensor],
        present: Callable[[TokenizedSet, Sequence[int]], Tensor],
        following: float,
        entropy_weight: float,
    ) -> None:
        """`original(corpus)` are all token losses and entropies under the original, (M, 2); `present(corpus, records)`
        those of some records under the present weights, one record after the other."""
        self._unseen, self._present = unseen, present
        self._following, self._entropy_weight = following, entropy_weight
        of_forget, of_unseen = original(forget), original(unseen)
        self._counts: list[int] = torch.bincount(forget.record).tolist()
        self._sizes: list[int] = torch.bincount(unseen.record).tolist()
        self._starts = [0, *torch.tensor(self._counts).cumsum(0).tolist()]
        self._partner: list[int] = match_by_rank(
            per_record_mean(of_forget[:, 0], forget.record, len(forget)),
            per_record_mean(of_unseen[:, 0], unseen.record, len(unseen)),
        ).tolist()
        records = torch.split(of_unseen, self._sizes)
        self._original = torch.cat(
            [quantiles(records[of], count) for of, count in zip(self._partner, self._counts, strict=True)]
        )  # (M, 2) each column ascending in the record's own places
        self._wanted = self._original.clone()

    def follow(self, records: Sequence[int]) -> None:
        """Sets the targets of the forget records whose turn it is. By all ranks, with the same records."""
        if not self._following:
            return
        partners = sorted({self._partner[record] for record in records})
        found = torch.split(self._present(self._unseen, partners), [self._sizes[one] for one in partners])
        of_partner = dict(zip(partners, found, strict=True))
        for record in records:
            rows = slice(self._starts[record], self._starts[record + 1])
            present = quantiles(of_partner[self._partner[record]], self._counts[record])
            self._wanted[rows] = torch.lerp(self._original[rows], present, self._following)

    def __call__(self, rows: "Rows") -> Tensor:
        losses, entropies = self._wanted[rows.index].unbind(1)
        distance = transport_distance(rows.loss, losses, rows.record)
        if not self._entropy_weight:
            return distance
        return distance + self._entropy_weight * transport_distance(rows.entropy, entropies, rows.record)


def transport_distance(values: Tensor, targets: Tensor, record: Tensor) -> Tensor:
    """|sort(v(x))_i - target_i| for each record: (N,), whose mean over a record is the transport distance between
    the two records' values, such as token losses.

    values (N,), targets (N,) ascending within a record, record (N,) ascending; a record's rows are all there.
    """
    by_value = values.detach().argsort(stable=True)
    order = by_value[record[by_value].argsort(stable=True)]  # by record, then by value
    return (values[order] - targets).abs()
