"""Where calibrated unlearning is to end: which unseen record stands for which forget record, and how far it is from it.

The approximate-retraining principle (arXiv 2402.15159, section 4.2): a model that never saw a text treats it like
other unseen text. So the original's losses on unseen records are the targets.
"""

import torch
from torch import Tensor

from core.lm.losses import per_record_mean


def match(forget: Tensor, unseen: Tensor) -> Tensor:
    """For each forget record the unseen record of the same rank: mean losses (F,) and (U,) -> (F,) in [0, U).

    Rank r of F goes to the record at quantile (r + 1/2) / F of the unseen ones; equal losses keep the records' order.
    """
    rank = forget.argsort(stable=True).argsort()
    place = torch.div((2 * rank + 1) * len(unseen), 2 * len(forget), rounding_mode="floor")
    return unseen.argsort(stable=True)[place]


def quantiles(losses: Tensor, count: int) -> Tensor:
    """The losses' (m,) quantile function at (i + 1/2) / count: (count,), ascending; all of them where count = m."""
    middles = 2 * torch.arange(count, device=losses.device) + 1
    place = torch.div(middles * len(losses), 2 * count, rounding_mode="floor")
    return losses.sort().values[place]


def targets(forget_losses: Tensor, forget_record: Tensor, unseen_losses: Tensor, unseen_record: Tensor) -> Tensor:
    """Each forget record's target losses under the original, ascending in the record's own places: (M,).

    Token losses (M,) and (K,) with the number of each one's record, records in ascending order.
    """
    counts = torch.bincount(forget_record).tolist()
    of_unseen = torch.split(unseen_losses, torch.bincount(unseen_record).tolist())
    partner = match(
        per_record_mean(forget_losses, forget_record, len(counts)),
        per_record_mean(unseen_losses, unseen_record, len(of_unseen)),
    )
    return torch.cat([quantiles(of_unseen[of], count) for of, count in zip(partner.tolist(), counts, strict=True)])


def transport(losses: Tensor, targets: Tensor, record: Tensor) -> Tensor:
    """|sort(l(x))_i - target_i| for each record: (N,), whose mean over a record is the transport distance between
    the two records' token losses.

    losses (N,), targets (N,) ascending within a record, record (N,) ascending; a record's rows are all there.
    """
    by_loss = losses.detach().argsort(stable=True)
    order = by_loss[record[by_loss].argsort(stable=True)]  # by record, then by loss
    return (losses[order] - targets).abs()
