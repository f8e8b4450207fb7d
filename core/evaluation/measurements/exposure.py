"""Exposure: whether a record is more probable than its twins, copies with other names and numbers."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from core.evaluation.measurement import Budgeted, ProducedFigures, Source
from core.schema.evaluation import Figure, MeasurementResult, SetName

if TYPE_CHECKING:
    from core.evaluation.budget import Budget
    from core.evaluation.eval_context import Columns, EvalContext
    from core.evaluation.stats.bootstrap import Resamples, Values
    from core.evaluation.text.counterfactuals import DonorPool
    from core.schema.record import Record

FEW = 20
"""Below this number of unseen records, twins resemble each other, and a true record stands out more easily."""
TOGETHER = 4
"""Records between two looks at the clock. Their twins go through the model together, 20 of each at a time."""


class Exposure(Budgeted):
    name: ClassVar[str] = "exposure"
    summary: ClassVar[str] = (
        "Compares each record with copies of it, its twins, in which every name, number, place and date is replaced"
        " by that of another unseen record. A record that the model knows has a lower loss than its twins. Twins are"
        " scored 19 and then 20 at a time, until the rank is clear: 5 twins have a lower loss, or none of the first 39"
        " has, which less than 1.7 % of records do whose exact rank is beyond the first tenth. Such a record counts as"
        " the first; for the others the rank among all twins is estimated without bias, and exact where all were"
        " scored. `exposure_twins`: how many twins of a record were scored, on average."
        " `exposure_rank`: the rank of its loss divided by (twins + 1), averaged over records; near 0 if the model"
        " knows the records, about 0.5 if it never saw them. `exposure`: the mean of log2(twins + 1) - log2(rank)."
        " `exposure_p`: the probability of so low a mean rank for a model that never saw the records. The unseen"
        " set's figures are a control. Where the unseen records are fewer than the twins and have too few values,"
        " invented values of the same form help out, and a warning says so."
    )
    produces: ClassVar[ProducedFigures] = ProducedFigures(
        figures=("exposure", "exposure_rank", "exposure_p", "exposure_twins"), sets=("forget", "unseen")
    )
    source: ClassVar[Source | None] = Source(
        title="The Secret Sharer: Evaluating and Testing Unintended Memorization in Neural Networks",
        url="https://arxiv.org/abs/1802.08232",
    )
    needs: ClassVar[frozenset[SetName]] = frozenset({"forget"})
    cheaper: ClassVar[tuple[dict[str, Any], ...]] = ({"records": 32}, {"records": FEW}, {"control": False})

    # With 32 records, one model in seven whose true mean rank is 0.47 has an interval that reaches below the 0.3 of the
    # default policy, and cannot be judged; with 64, one in a hundred.
    records: int | None = Field(default=64, ge=1, description="at most this many records of a set; null: all")
    twins: int = Field(default=99, ge=19, le=999, description="at most this many twins of each record")
    exhaustive: bool = Field(default=False, description="whether all twins are scored, for the exact rank")
    control: bool = Field(default=True, description="whether unseen records are ranked too")

    @property
    def passes(self) -> float:
        """One for the record and one for each twin, as many as are scored of a record that stands out."""
        from core.evaluation.attacks.sequential_rank import KNOWN_FROM

        return 1.0 + (self.twins if self.exhaustive else min(self.twins, KNOWN_FROM))

    def measure(self, context: "EvalContext") -> MeasurementResult:
        from core.evaluation.partial_columns import columns_or_partial
        from core.evaluation.text import record_context

        budget = self.budget(context)
        pool = record_context.donor_pool(context, record_context.common_words(context))
        result = MeasurementResult(warnings=_pool_warnings(len(pool.records)))
        digest = record_context.context_digest(context)
        key = f"{self.name} {self.twins} {self.exhaustive} {self.records} {context.seed} {digest}"
        ranked: tuple[SetName, ...] = ("forget", "unseen") if self.control else ("forget",)
        for name in (name for name in ranked if name in context.sets):
            indices = context.subset_indices(name, self.records)
            budget.note_left_out(name, done=len(indices), of=len(context.sets[name]), reason="records")

            def compute(records: "Sequence[Record]", indices: list[int] = indices) -> "Columns":
                return self._columns(context, [records[index] for index in indices], pool, budget)

            columns, done = columns_or_partial(context, key, name, compute)
            if done is not None:
                budget.note_left_out(name, done=done, of=len(indices), reason="seconds")
            if alike := int(columns["alike"].sum()):
                result.warnings.append(
                    f"exposure: {alike} of {len(indices)} {name} records hold too few names, numbers or dates for"
                    f" {self.twins} twins, and are left out"
                )
            if invented := int(columns["invented"].sum()):
                result.warnings.append(
                    f"exposure: {len(pool.records)} unseen records are too few for {self.twins} twins of {invented} of"
                    f" {len(indices)} {name} records, so some twins have invented names and numbers: a record that the"
                    " model never saw may stand out of them"
                )
            if len(columns["rank"]):
                resamples = context.resamples(f"{self.name} {name}")
                result.sets[name] = self._figures(columns["rank"], columns["scored"], resamples)
        result.cut_short = budget.cut_short
        return result

    def _columns(
        self, context: "EvalContext", records: "Sequence[Record]", pool: "DonorPool", budget: "Budget"
    ) -> "Columns":
        """`rank` of each record that has enough twins, and how many of them were `scored`; `alike` and `invented`, 0 or
        1 for every record.

        `alike`: the record has too few twins. `invented`: its twins have invented values, because the unseen records
        are fewer than the twins and had too few values. Raises TimeLimitReached.
        """
        import numpy as np

        from core.evaluation.attacks.twin_ranks import Rank, twin_ranks
        from core.evaluation.partial_columns import TimeLimitReached

        ranks: list[Rank | None] = []
        invented: list[bool] = []

        def columns() -> "Columns":
            known = [rank for rank in ranks if rank is not None]
            return {
                "rank": np.array([rank.rank for rank in known]),
                "scored": np.array([float(rank.scored) for rank in known]),
                "alike": np.array([float(rank is None) for rank in ranks]),
                "invented": np.array(
                    [float(made and rank is not None) for made, rank in zip(invented, ranks, strict=True)]
                ),
            }

        together = 1 if self.exhaustive else TOGETHER
        for start in range(0, len(records), together):
            if budget.expired():
                raise TimeLimitReached(columns(), start)
            batch = [self._twins(record, context.seed, pool) for record in records[start : start + together]]
            full = [place for place, (twins, _) in enumerate(batch) if len(twins) == self.twins]
            ranked = twin_ranks(
                context,
                [records[start + place] for place in full],
                [batch[place][0] for place in full],
                exhaustive=self.exhaustive,
            )
            by_place = dict(zip(full, ranked, strict=True))
            ranks += [by_place.get(place) for place in range(len(batch))]
            invented += [made for _, made in batch]
        return columns()

    def _twins(self, record: "Record", seed: int, pool: "DonorPool") -> "tuple[list[Record], bool]":
        """The record's twins, and whether some have invented values."""
        from core.evaluation.text.counterfactuals import counterfactuals

        twins = counterfactuals(record, self.twins, seed=seed, pool=pool)
        # Where unseen records are many, a rare value is no reason to compare it with invented ones.
        if 0 < len(twins) < self.twins and 0 < len(pool.records) < self.twins:
            return counterfactuals(record, self.twins, seed=seed, pool=pool, invent=True), True
        return twins, False

    def _figures(self, ranks: "Values", scored: "Values", resamples: "Resamples") -> dict[str, Figure]:
        result = figures(ranks, self.twins, resamples, exhaustive=self.exhaustive)
        twins = Figure(value=float(scored.mean()), low=None, high=None, records=len(scored))
        return {**result, "exposure_twins": twins}


def figures(ranks: "Values", twins: int, resamples: "Resamples", *, exhaustive: bool = False) -> dict[str, Figure]:
    """The figures of a set from the ranks of its records, each from 1 to twins + 1."""
    import numpy as np

    from core.evaluation.attacks.exposure import exposures, mean_rank_p_value
    from core.evaluation.stats.bootstrap import AMOUNT, weighted_means

    equal = np.ones(len(ranks))
    means = {"exposure_rank": (ranks / (twins + 1), equal), "exposure": (exposures(ranks, twins), equal)}
    figures = weighted_means(means, resamples, through={}, ranges={"exposure": AMOUNT})
    chance = mean_rank_p_value(ranks, twins, exhaustive=exhaustive)
    figures["exposure_p"] = Figure(value=chance, low=None, high=None, records=len(ranks))
    return figures


def _pool_warnings(unseen: int) -> list[str]:
    if not unseen:
        return [
            "exposure: without unseen text the twins' names and numbers are invented, and a record that the model never"
            " saw may stand out of them"
        ]
    if unseen < FEW:
        return [
            f"exposure: the twins are made of {unseen} unseen records, fewer than {FEW}: a record that the model never"
            " saw may stand out of them"
        ]
    return []
