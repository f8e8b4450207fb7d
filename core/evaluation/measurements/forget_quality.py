"""Forget quality: whether the truth ratios could be those of the model retrained without the forget set."""

from typing import TYPE_CHECKING, ClassVar

from core.evaluation.measurement import Budgeted, ProducedFigures, Source
from core.evaluation.measurements.wrong_answers import TOFU, no_wrong_answers
from core.schema.evaluation import Figure, MeasurementResult, SetName

if TYPE_CHECKING:
    from core.evaluation.eval_context import EvalContext

FEW = 20
"""Below this number of records the test finds hardly any difference."""


class ForgetQuality(Budgeted):
    name: ClassVar[str] = "forget_quality"
    summary: ClassVar[str] = (
        "Compares the truth ratios of this model with those of the retrained model, on probes (or forget records)"
        " that have wrong answers. `forget_quality`: the p-value of the two-sample Kolmogorov-Smirnov test. A low"
        " value shows that the two models differ. `forget_quality_ks`: the statistic of that test, the largest"
        " distance between the two distributions. Not measured without a retrained model. The figures of a test have"
        " no interval."
    )
    produces: ClassVar[ProducedFigures] = ProducedFigures(across=("forget_quality", "forget_quality_ks"))
    source: ClassVar[Source | None] = TOFU
    order: ClassVar[int] = 10

    def measure(self, context: "EvalContext") -> MeasurementResult:
        from core.evaluation.scores.answer_probabilities import answer_losses, retrained_answer_losses
        from core.evaluation.scores.truth_ratio import kolmogorov_smirnov, log_ratios

        names: tuple[SetName, ...] = ("probes", "forget")
        with_wrong_answers = [
            name for name in names if any(record.wrong_answers() for record in context.sets.get(name, []))
        ]
        name = next(iter(with_wrong_answers), None)
        if name is None:
            return MeasurementResult(warnings=no_wrong_answers(self, context))
        if context.retrained is None and context.moment != "retrained":
            return self._left_out("there is no retrained model to compare with")
        budget = self.budget(context)
        losses = answer_losses(context, name, self.records, budget)
        if context.retrained is None or losses is None:
            return MeasurementResult(cut_short=budget.cut_short)  # the retrained model itself: its losses are kept
        retrained = retrained_answer_losses(context, name, self.records, self.budget(context.retrained))
        if retrained is None:
            return self._left_out("the retrained model was not asked the same")
        records = min(len(losses["true"]), len(retrained["true"]))  # the time limit may have shortened either
        statistic, probability = kolmogorov_smirnov(log_ratios(losses)[:records], log_ratios(retrained)[:records])
        across = {
            "forget_quality": Figure(value=probability, low=None, high=None, records=records),
            "forget_quality_ks": Figure(value=statistic, low=None, high=None, records=records),
        }
        few = f"{self.name}: on {records} records, fewer than {FEW}, the test finds hardly any difference"
        return MeasurementResult(across=across, cut_short=budget.cut_short, warnings=[few] if records < FEW else [])

    def _left_out(self, why: str) -> MeasurementResult:
        return MeasurementResult(warnings=[f"{self.name}: not measured: {why}"])
