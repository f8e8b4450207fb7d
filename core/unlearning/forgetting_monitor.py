"""How far a model is from one that never saw the forget set, by records that calibrate and never by measuring ones."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from core.lm.losses import per_record_mean
from core.unlearning.calibration import quantiles
from core.unlearning.method_context import MethodContext
from core.unlearning.tokenized_set import TokenizedSet

SAMPLE = 48
"""Records of each set that a reading looks at."""
QUICK_SAMPLE = 16
"""Records that the range test looks at, which only asks how far mean losses moved."""
TAIL = 0.2
"""The share of a record's most improbable tokens that min-k looks at."""
RISE = 0.02
"""Nats per token by which retain records may become less likely: perplexity up 2 %."""
_DRAWS = 200
_LEVEL = 0.9


@dataclass(frozen=True)
class Reading:
    """The distance from the goal in three directions, each in multiples of what is tolerated."""

    forget: float
    """Distance between forget and unseen records by the statistic that tells them apart best; 1: nine in ten pairs of
    samples of unseen text are closer together."""
    retain: float
    """Rise of the loss on retain records that no term holds; 1: by RISE. 0 without any."""
    unseen: float
    """Rise of the loss on unseen records; 1: by twice RISE. A fall is no harm: unseen text grows likelier for a model
    that is less sure of itself, and for one that is retrained without the forget set (the demo's: perplexity -7 %)."""

    @property
    def worst(self) -> float:
        """The largest of the three, at most 1 where the goal is reached; infinite where a loss is no finite number."""
        values = (self.forget, self.retain, self.unseen)
        return max(values) if all(np.isfinite(values)) else float("inf")


class _Sample:
    """Records of a set, and their statistics under the reference model."""

    def __init__(self, context: MethodContext, tokenized: TokenizedSet, generator: np.random.Generator) -> None:
        count = min(SAMPLE, len(tokenized))
        self._context, self._tokenized = context, tokenized
        self._records: list[int] = generator.permutation(len(tokenized))[:count].tolist()
        counts = torch.bincount(tokenized.record.cpu(), minlength=len(tokenized))
        self._counts: list[int] = counts[self._records].tolist()
        self.reference = self.statistics()

    def statistics(self, limit: int = SAMPLE) -> Tensor:
        """(mean loss, mean of the largest losses, mean entropy) of the first `limit` records at present: (R, 3)."""
        records = self._records[:limit]
        values = self._context.current_losses_and_entropies(self._tokenized, records).double().cpu()  # (N, 2)
        return torch.stack([_record_statistics(rows) for rows in torch.split(values, self._counts[:limit])])

    def all_losses(self) -> Tensor:
        """The mean loss of every record of the set at present: (R,)."""
        values = self._context.current_losses_and_entropies(self._tokenized, range(len(self._tokenized))).double().cpu()
        record = self._tokenized.record.cpu()
        return per_record_mean(values[:, 0], record, len(self._tokenized))

    def rise(self, limit: int = SAMPLE) -> float:
        """The rise of the mean loss since the reference model, in nats per token."""
        return float((self.statistics(limit)[:, 0] - self.reference[:limit, 0]).mean())


class ForgettingMonitor:
    """Reads how the model under training treats samples of the forget set, of unseen text and of held-out retain text.

    A model that never saw the forget set treats it like unseen text (arXiv 2402.15159, section 4.2). Three statistics
    of a record tell the two apart: its mean token loss, the mean of its largest token losses (min-k), and the mean
    entropy of the predictions (min-k++). The samples are drawn by the job's seed and stay the same.
    """

    def __init__(
        self, context: MethodContext, forget: TokenizedSet, unseen: TokenizedSet, held_out: TokenizedSet | None
    ) -> None:
        """Made while `context` still has the reference model. `held_out` are retain records that no term trains on."""
        generator = np.random.default_rng([context.seed, 2])
        self._forget = _Sample(context, forget, generator)
        self._unseen = _Sample(context, unseen, generator)
        self._held_out = None if held_out is None else _Sample(context, held_out, generator)
        self._noise = _noise(self._unseen.reference, len(self._forget.reference), generator)  # (3,)

    def knows_nothing(self) -> bool:
        """True if every forget record is at least as unlikely as the unseen record of its rank.

        Call it before the first update. It reads all forget records, unless a sampled one is likelier already.
        """
        sampled = self._forget.reference[:, 0]
        return self._are_unlikely(sampled) and self._are_unlikely(self._forget.all_losses())

    def _are_unlikely(self, losses: Tensor) -> bool:
        ranked = losses.sort().values
        return bool((ranked >= quantiles(self._unseen.reference[:, 0], len(ranked))).all())

    def read(self) -> Reading:
        """Reads the model's present state. All ranks call it, at the same time."""
        forget, unseen = self._forget.statistics(), self._unseen.statistics()
        rise = float((unseen[:, 0] - self._unseen.reference[:, 0]).mean())
        return Reading(
            forget=float((_distances(forget, unseen) / self._noise).max()),
            retain=0.0 if self._held_out is None else self._held_out.rise() / RISE,
            unseen=max(0.0, rise) / (2 * RISE),
        )

    def movement(self) -> tuple[float, float]:
        """Returns the share of the way from the reference model's loss on forget text to that on unseen text that is
        gone, and the rise of the loss on held-out retain text (without any: 0), both by a few records."""
        way = float(self._unseen.reference[:, 0].mean() - self._forget.reference[:QUICK_SAMPLE, 0].mean())
        rise = 0.0 if self._held_out is None else self._held_out.rise(QUICK_SAMPLE)
        return self._forget.rise(QUICK_SAMPLE) / max(way, RISE), rise


def _record_statistics(rows: Tensor) -> Tensor:
    """Losses and entropies of a record's tokens (n, 2) -> (3,)."""
    losses, entropies = rows.unbind(1)
    tail = losses.topk(max(1, int(TAIL * len(losses)))).values
    return torch.stack([losses.mean(), tail.mean(), entropies.mean()])


def _distances(values: Tensor, others: Tensor) -> Tensor:
    """The transport distance between two samples in each statistic: (R, 3), (S, 3) -> (3,)."""
    return (values.sort(dim=0).values - quantiles(others, len(values))).abs().mean(0)


def _noise(unseen: Tensor, count: int, generator: np.random.Generator) -> Tensor:
    """The distance between `count` and all of the unseen records that _LEVEL of resampled pairs do not exceed: (3,)."""
    distances = []
    for _ in range(_DRAWS):
        few = generator.integers(len(unseen), size=count)
        many = generator.integers(len(unseen), size=len(unseen))
        distances.append(_distances(unseen[torch.from_numpy(few)], unseen[torch.from_numpy(many)]))
    floor = torch.full((3,), RISE, dtype=unseen.dtype)  # a few alike records have hardly any
    return torch.stack(distances).quantile(_LEVEL, dim=0).maximum(floor)
