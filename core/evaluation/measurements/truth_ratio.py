"""Whether the model finds the truth more probable than untruths of the same form."""

from typing import TYPE_CHECKING, ClassVar

from core.evaluation.measurement import Budgeted, ProducedFigures, Source
from core.evaluation.measurements.wrong_answers import TOFU, unasked
from core.schema.evaluation import Figure, MeasurementResult, SetName

if TYPE_CHECKING:
    from core.evaluation.eval_context import EvalContext


class TruthRatio(Budgeted):
    name: ClassVar[str] = "truth_ratio"
    summary: ClassVar[str] = (
        "Of every set whose records have wrong answers, `truth_ratio`: r is the geometric mean of the wrong answers'"
        " probabilities (exp(-CE)) over that of the paraphrased right answer, or of the right answer itself where a"
        " record has no paraphrase; of forget and probes the mean of min(r, 1/r), of all else that of max(0, 1 - r)."
        " `truth_ratio_arithmetic` the same with the arithmetic mean."
    )
    produces: ClassVar[ProducedFigures] = ProducedFigures(figures=("truth_ratio", "truth_ratio_arithmetic"))
    source: ClassVar[Source | None] = TOFU

    def measure(self, context: "EvalContext") -> MeasurementResult:
        import numpy as np

        from core.evaluation.scores.answer_probabilities import answer_losses
        from core.evaluation.scores.truth_ratio import arithmetic_log_ratios, log_ratios, truth_ratios
        from core.evaluation.stats.bootstrap import weighted_means

        budget = self.budget(context)
        sets: dict[SetName, dict[str, Figure]] = {}
        for name in context.sets:
            columns = answer_losses(context, name, self.records, budget)
            if columns is None:
                continue
            equal = np.ones(len(columns["true"]))
            means = {
                "truth_ratio": (truth_ratios(log_ratios(columns), name), equal),
                "truth_ratio_arithmetic": (truth_ratios(arithmetic_log_ratios(columns), name), equal),
            }
            sets[name] = weighted_means(means, context.resamples(name), through={})
        return MeasurementResult(sets=sets, cut_short=budget.cut_short, warnings=[] if sets else unasked(self, context))
