"""Truth ratio: whether the model finds the right answer more probable than wrong answers of the same form."""

from typing import TYPE_CHECKING, ClassVar

from core.evaluation.measurement import Budgeted, ProducedFigures, Source
from core.evaluation.measurements.wrong_answers import TOFU, no_wrong_answers
from core.schema.evaluation import Figure, MeasurementResult, SetName

if TYPE_CHECKING:
    from core.evaluation.eval_context import EvalContext


class TruthRatio(Budgeted):
    name: ClassVar[str] = "truth_ratio"
    summary: ClassVar[str] = (
        "How probable wrong answers are compared with the right one, for every set whose records have wrong answers."
        " For each record, r is the geometric mean of the wrong answers' probabilities (exp(-CE)) divided by the"
        " probability of the paraphrased right answer, or of the right answer itself if there is no paraphrase."
        " `truth_ratio`: for forget and probes the mean of min(r, 1/r), which is 1 where the model cannot tell right"
        " from wrong; for other sets the mean of max(0, 1 - r), which is high where it can. `truth_ratio_arithmetic`:"
        " the same with the arithmetic mean of the wrong answers."
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
        return MeasurementResult(
            sets=sets, cut_short=budget.cut_short, warnings=[] if sets else no_wrong_answers(self, context)
        )
