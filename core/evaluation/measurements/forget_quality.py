"""Could this model be the one that was retrained without the forget set, as far as its truth ratios go?"""

from typing import TYPE_CHECKING, ClassVar

from core.evaluation.measurement import Budgeted, ProducedFigures, Source
from core.evaluation.measurements.wrong_answers import TOFU, unasked
from core.schema.evaluation import Figure, MeasurementResult, SetName

if TYPE_CHECKING:
    from core.evaluation.eval_context import EvalContext

FEW = 20
"""Under so many records the test finds hardly any difference."""


class ForgetQuality(Budgeted):
    name: ClassVar[str] = "forget_quality"
    summary: ClassVar[str] = (
        "`forget_quality`, the p-value of the two-sample Kolmogorov-Smirnov test between the truth ratios of this model"
        " and of the retrained one, on probes (or forget records) with wrong answers; `forget_quality_ks` its"
        " statistic, the largest distance between both distributions. Not measured without a retrained model. A test's"
        " figures have no interval."
    )
    produces: ClassVar[ProducedFigures] = ProducedFigures(across=("forget_quality", "forget_quality_ks"))
    source: ClassVar[Source | None] = TOFU
    order: ClassVar[int] = 10

    def measure(self, context: "EvalContext") -> MeasurementResult:
        from core.evaluation.scores.answer_probabilities import answer_losses, retrained_answer_losses
        from core.evaluation.scores.truth_ratio import kolmogorov_smirnov, log_ratios

        names: tuple[SetName, ...] = ("probes", "forget")
        name = next((name for name in names if any(one.wrong_answers() for one in context.sets.get(name, []))), None)
        if name is None:
            return MeasurementResult(warnings=unasked(self, context))
        if context.retrained is None and context.moment != "retrained":
            return self._left_out("there is no retrained model to compare with")
        budget = self.budget(context)
        ours = answer_losses(context, name, self.records, budget)
        if context.retrained is None or ours is None:
            return MeasurementResult(cut_short=budget.cut_short)  # the retrained model itself: kept for the comparison
        theirs = retrained_answer_losses(context, name, self.records, self.budget(context.retrained))
        if theirs is None:
            return self._left_out("the retrained model was not asked the same")
        records = min(len(ours["true"]), len(theirs["true"]))  # time may have cut either
        statistic, probability = kolmogorov_smirnov(log_ratios(ours)[:records], log_ratios(theirs)[:records])
        across = {
            "forget_quality": Figure(value=probability, low=None, high=None, records=records),
            "forget_quality_ks": Figure(value=statistic, low=None, high=None, records=records),
        }
        few = f"{self.name}: on {records} records, fewer than {FEW}, the test finds hardly any difference"
        return MeasurementResult(across=across, cut_short=budget.cut_short, warnings=[few] if records < FEW else [])

    def _left_out(self, why: str) -> MeasurementResult:
        return MeasurementResult(warnings=[f"{self.name}: not measured: {why}"])
