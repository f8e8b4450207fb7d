"""Is a record more probable than its twins, in which every specific is another? Works for a request of one record."""

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
"""Unseen records. Of fewer, twins resemble each other: a true record stands out of them more easily."""


class Exposure(Budgeted):
    name: ClassVar[str] = "exposure"
    summary: ClassVar[str] = (
        "Each record among twins whose specifics (names, numbers, places, dates) are swapped for those of other unseen"
        " records of the measuring half (where these are fewer than the twins and have too few, for invented ones of"
        " the same form, too, which a warning says): `exposure_rank`, the mean of rank of its loss / (twins + 1), near"
        " 0 where it is known, about 0.5 where it never was seen; `exposure`, the mean of log2(twins + 1) - log2(rank);"
        " `exposure_p`, how probable so low a mean rank is for a model that never saw the records. The unseen set's are"
        " a control."
    )
    produces: ClassVar[ProducedFigures] = ProducedFigures(
        figures=("exposure", "exposure_rank", "exposure_p"), sets=("forget", "unseen")
    )
    source: ClassVar[Source | None] = Source(
        title="The Secret Sharer: Evaluating and Testing Unintended Memorization in Neural Networks",
        url="https://arxiv.org/abs/1802.08232",
    )
    needs: ClassVar[frozenset[SetName]] = frozenset({"forget"})

    records: int | None = Field(default=32, ge=1, description="at most so many records of a set; null: all")
    twins: int = Field(default=99, ge=19, le=999, description="of each record")
    control: bool = Field(default=True, description="rank unseen records, too")

    def measure(self, context: "EvalContext") -> MeasurementResult:
        from core.evaluation.partial_columns import columns_or_partial
        from core.evaluation.text import record_context

        budget = self.budget(context)
        words = record_context.common_words(context)
        pool = record_context.donor_pool(context, words)
        found = MeasurementResult(warnings=_doubts(len(pool.records)))
        key = f"{self.name} {self.twins} {self.records} {context.seed} {record_context.context_digest(context)}"
        wanted: tuple[SetName, ...] = ("forget", "unseen") if self.control else ("forget",)
        sets = [name for name in wanted if name in context.sets]
        for name in sets:
            places = context.subset_indices(name, self.records)
            budget.note_left_out(name, done=len(places), of=len(context.sets[name]), reason="records")

            def compute(records: "Sequence[Record]", places: list[int] = places) -> "Columns":
                return self._ranked(context, [records[place] for place in places], pool, budget)

            columns, reached = columns_or_partial(context, key, name, compute)
            if reached is not None:
                budget.note_left_out(name, done=reached, of=len(places), reason="seconds")
            ranks = columns["rank"]
            if alike := int(columns["alike"].sum()):
                found.warnings.append(
                    f"exposure: {alike} of {len(places)} {name} records hold too few names, numbers or dates for"
                    f" {self.twins} twins, and are left out"
                )
            if made_up := int(columns["invented"].sum()):
                found.warnings.append(
                    f"exposure: {len(pool.records)} unseen records are too few for {self.twins} twins of {made_up} of"
                    f" {len(places)} {name} records, so that some of these have invented names and numbers: a record"
                    " may stand out of them that the model never saw"
                )
            if len(ranks):
                found.sets[name] = figures(ranks, self.twins, context.resamples(f"{self.name} {name}"))
        found.cut_short = budget.cut_short
        return found

    def _ranked(
        self, context: "EvalContext", records: "Sequence[Record]", pool: "DonorPool", budget: "Budget"
    ) -> "Columns":
        """`rank` of each record that has twins enough, and `alike`, whether each has not, and `invented`, whether the
        unseen records, fewer than twins are asked for, had too few values for them. Raises TimeLimitReached."""
        import numpy as np

        from core.evaluation.attacks.exposure import rank
        from core.evaluation.partial_columns import TimeLimitReached
        from core.evaluation.scores.likelihood import cross_entropies
        from core.evaluation.text.counterfactuals import counterfactuals
        from core.lm.errors import CoreError

        ranks: list[float] = []
        alike: list[float] = []
        made_up: list[float] = []

        def columns() -> "Columns":
            return {"rank": np.array(ranks), "alike": np.array(alike), "invented": np.array(made_up)}

        for done, record in enumerate(records):
            if budget.expired():
                raise TimeLimitReached(columns(), done)
            made = counterfactuals(record, self.twins, seed=context.seed, pool=pool)
            # Of many unseen records, that a value is rare is no reason to hold it against invented ones.
            short = 0 < len(made) < self.twins and 0 < len(pool.records) < self.twins
            if short:
                made = counterfactuals(record, self.twins, seed=context.seed, pool=pool, invent=True)
            losses = None
            if len(made) == self.twins:
                try:
                    losses = cross_entropies(context.statistics([record, *made], label="twins'"))
                    ranks.append(rank(losses[0], losses[1:]))
                except CoreError as error:
                    if error.code != "no_scored_tokens":  # a twin may be shorter than the record
                        raise
            alike.append(float(losses is None))
            made_up.append(float(short and losses is not None))
        return columns()


def figures(ranks: "Values", twins: int, resamples: "Resamples") -> dict[str, Figure]:
    """A set's figures of its records' ranks, each 1 to twins + 1."""
    import numpy as np

    from core.evaluation.attacks.exposure import exposures, mean_rank_p_value
    from core.evaluation.stats.bootstrap import AMOUNT, weighted_means

    equal = np.ones(len(ranks))
    means = {"exposure_rank": (ranks / (twins + 1), equal), "exposure": (exposures(ranks, twins), equal)}
    found = weighted_means(means, resamples, through={}, ranges={"exposure": AMOUNT})
    found["exposure_p"] = Figure(value=mean_rank_p_value(ranks, twins), low=None, high=None, records=len(ranks))
    return found


def _doubts(unseen: int) -> list[str]:
    if not unseen:
        return [
            "exposure: without unseen text the twins' names and numbers are invented, and a record may stand out of"
            " them that the model never saw"
        ]
    if unseen < FEW:
        return [
            f"exposure: the twins are made of {unseen} unseen records, fewer than {FEW}: a record may stand out of them"
            " that the model never saw"
        ]
    return []
