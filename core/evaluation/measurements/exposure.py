"""Exposure: whether a record is more probable than its twins, copies with other names and numbers."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

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


class Exposure(Budgeted):
    name: ClassVar[str] = "exposure"
    summary: ClassVar[str] = (
        "Compares each record with copies of it, its twins, in which every name, number, place and date is replaced"
        " by that of another unseen record. A record that the model knows has a lower loss than its twins."
        " `exposure_rank`: the rank of its loss divided by (twins + 1), averaged over records; near 0 if the model"
        " knows the records, about 0.5 if it never saw them. `exposure`: the mean of log2(twins + 1) - log2(rank)."
        " `exposure_p`: the probability of so low a mean rank for a model that never saw the records. The unseen"
        " set's figures are a control. Where the unseen records are fewer than the twins and have too few values,"
        " invented values of the same form help out, and a warning says so."
    )
    produces: ClassVar[ProducedFigures] = ProducedFigures(
        figures=("exposure", "exposure_rank", "exposure_p"), sets=("forget", "unseen")
    )
    source: ClassVar[Source | None] = Source(
        title="The Secret Sharer: Evaluating and Testing Unintended Memorization in Neural Networks",
        url="https://arxiv.org/abs/1802.08232",
    )
    needs: ClassVar[frozenset[SetName]] = frozenset({"forget"})

    records: int | None = Field(default=32, ge=1, description="at most this many records of a set; null: all")
    twins: int = Field(default=99, ge=19, le=999, description="number of twins of each record")
    control: bool = Field(default=True, description="whether unseen records are ranked too")

    def measure(self, context: "EvalContext") -> MeasurementResult:
        from core.evaluation.partial_columns import columns_or_partial
        from core.evaluation.text import record_context

        budget = self.budget(context)
        pool = record_context.donor_pool(context, record_context.common_words(context))
        result = MeasurementResult(warnings=_pool_warnings(len(pool.records)))
        key = f"{self.name} {self.twins} {self.records} {context.seed} {record_context.context_digest(context)}"
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
            ranks = columns["rank"]
            if len(ranks):
                result.sets[name] = figures(ranks, self.twins, context.resamples(f"{self.name} {name}"))
        result.cut_short = budget.cut_short
        return result

    def _columns(
        self, context: "EvalContext", records: "Sequence[Record]", pool: "DonorPool", budget: "Budget"
    ) -> "Columns":
        """`rank` of each record that has enough twins; `alike` and `invented`, 0 or 1 for every record.

        `alike`: the record has too few twins. `invented`: its twins have invented values, because the unseen records
        are fewer than the twins and had too few values. Raises TimeLimitReached.
        """
        import numpy as np

        from core.evaluation.attacks.exposure import rank
        from core.evaluation.partial_columns import TimeLimitReached
        from core.evaluation.scores.likelihood import cross_entropies
        from core.evaluation.text.counterfactuals import counterfactuals
        from core.lm.errors import CoreError

        ranks: list[float] = []
        alike: list[float] = []
        invented: list[float] = []

        def columns() -> "Columns":
            return {"rank": np.array(ranks), "alike": np.array(alike), "invented": np.array(invented)}

        for done, record in enumerate(records):
            if budget.expired():
                raise TimeLimitReached(columns(), done)
            twins = counterfactuals(record, self.twins, seed=context.seed, pool=pool)
            # Where unseen records are many, a rare value is no reason to compare it with invented ones.
            too_few = 0 < len(twins) < self.twins and 0 < len(pool.records) < self.twins
            if too_few:
                twins = counterfactuals(record, self.twins, seed=context.seed, pool=pool, invent=True)
            losses = None
            if len(twins) == self.twins:
                try:
                    losses = cross_entropies(context.statistics([record, *twins], label="twins'"))
                    ranks.append(rank(losses[0], losses[1:]))
                except CoreError as error:
                    if error.code != "no_scored_tokens":  # a twin may be shorter than the record
                        raise
            alike.append(float(losses is None))
            invented.append(float(too_few and losses is not None))
        return columns()


def figures(ranks: "Values", twins: int, resamples: "Resamples") -> dict[str, Figure]:
    """The figures of a set from the ranks of its records, each from 1 to twins + 1."""
    import numpy as np

    from core.evaluation.attacks.exposure import exposures, mean_rank_p_value
    from core.evaluation.stats.bootstrap import AMOUNT, weighted_means

    equal = np.ones(len(ranks))
    means = {"exposure_rank": (ranks / (twins + 1), equal), "exposure": (exposures(ranks, twins), equal)}
    figures = weighted_means(means, resamples, through={}, ranges={"exposure": AMOUNT})
    figures["exposure_p"] = Figure(value=mean_rank_p_value(ranks, twins), low=None, high=None, records=len(ranks))
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
