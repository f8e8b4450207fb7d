"""How much each record changed from the model that the job started from: far better known than two means apart."""

from typing import TYPE_CHECKING, ClassVar

from core.evaluation.measurement import Measurement
from core.schema.evaluation import MeasurementResult, Moment, SetName

if TYPE_CHECKING:
    from core.evaluation.eval_context import EvalContext

COMPARED_SETS: tuple[SetName, ...] = ("retain", "unseen", "general", "protected")
"""What must survive, and what was never known."""


class Change(Measurement):
    name: ClassVar[str] = "change"
    summary: ClassVar[str] = (
        "Of every set but forget and probes, against the model that the job started from, record by record:"
        " `perplexity_ratio`, exp of the mean change of CE; `accuracy_change`, `probability_change` and"
        " `extraction_strength_change`, mean differences. A model differs from itself by 1 and 0."
    )
    moments: ClassVar[frozenset[Moment]] = frozenset({"after"})
    order: ClassVar[int] = -5

    def measure(self, context: "EvalContext") -> MeasurementResult:
        import numpy as np

        from core.evaluation.record_scores import COLUMNS_KEY, record_scores
        from core.evaluation.scores import likelihood
        from core.evaluation.stats.bootstrap import CHANGE, weighted_means

        found = MeasurementResult()
        for name in COMPARED_SETS:
            before = None if context.original is None else context.original.computed_columns(COLUMNS_KEY, name)
            if before is None or name not in context.sets:
                continue
            after = record_scores(context, name)
            equal = np.ones(len(after["loss"]))
            changes = {"perplexity_ratio": (after["loss"] - before["loss"], equal)}
            for figure in ("accuracy", "probability", "extraction_strength"):
                changes[f"{figure}_change"] = (after[figure] - before[figure], equal)
            found.sets[name] = weighted_means(
                changes,
                context.resamples(name),
                through={"perplexity_ratio": likelihood.perplexity},
                ranges=dict.fromkeys(changes, CHANGE),
            )
        return found
