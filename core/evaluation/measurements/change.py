"""The change of each record against the model that the job started from."""

from typing import TYPE_CHECKING, ClassVar

from core.evaluation.measurement import Measurement
from core.schema.evaluation import MeasurementResult, Moment, SetName

if TYPE_CHECKING:
    from core.evaluation.eval_context import EvalContext

COMPARED_SETS: tuple[SetName, ...] = ("retain", "unseen", "general", "protected")
"""Sets that must survive, and text that was never known."""


class Change(Measurement):
    name: ClassVar[str] = "change"
    summary: ClassVar[str] = (
        "The change of each record against the model that the job started from, for every set except forget and"
        " probes: `perplexity_ratio` (exp of the mean change of the cross entropy), `accuracy_change`,"
        " `probability_change` and `extraction_strength_change` (mean differences). Without any change the ratio is 1"
        " and the differences are 0. A change record by record is known far better than the difference of two means."
    )
    moments: ClassVar[frozenset[Moment]] = frozenset({"after"})
    order: ClassVar[int] = -5

    def measure(self, context: "EvalContext") -> MeasurementResult:
        import numpy as np

        from core.evaluation.record_scores import COLUMNS_KEY, record_scores
        from core.evaluation.scores import likelihood
        from core.evaluation.stats.bootstrap import CHANGE, weighted_means

        result = MeasurementResult()
        for name in COMPARED_SETS:
            before = None if context.original is None else context.original.computed_columns(COLUMNS_KEY, name)
            if before is None or name not in context.sets:
                continue
            after = record_scores(context, name)
            equal = np.ones(len(after["loss"]))
            changes = {"perplexity_ratio": (after["loss"] - before["loss"], equal)}
            for figure in ("accuracy", "probability", "extraction_strength"):
                changes[f"{figure}_change"] = (after[figure] - before[figure], equal)
            result.sets[name] = weighted_means(
                changes,
                context.resamples(name),
                through={"perplexity_ratio": likelihood.perplexity},
                ranges=dict.fromkeys(changes, CHANGE),
            )
        return result
