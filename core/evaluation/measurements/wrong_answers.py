"""Probability of the right answer among wrong ones."""

from typing import TYPE_CHECKING, ClassVar

from core.evaluation.measurement import Budgeted, Measurement, ProducedFigures, Source
from core.schema.evaluation import Figure, MeasurementResult, SetName

if TYPE_CHECKING:
    from core.evaluation.eval_context import EvalContext

TOFU = Source(title="TOFU: A Task of Fictitious Unlearning for LLMs", url="https://arxiv.org/abs/2401.06121")


class WrongAnswers(Budgeted):
    name: ClassVar[str] = "wrong_answers"
    summary: ClassVar[str] = (
        "How probable the right answer is among wrong ones, for every set whose records have wrong answers (`wrong`)."
        " `probability_among_wrong`: the mean over records of p_right / (p_right + sum of p_wrong), where p is the"
        " geometric mean of the tokens' probabilities, exp(-CE). 1 means that only the right answer is probable."
    )
    produces: ClassVar[ProducedFigures] = ProducedFigures(figures=("probability_among_wrong",))
    source: ClassVar[Source | None] = TOFU

    def measure(self, context: "EvalContext") -> MeasurementResult:
        import numpy as np

        from core.evaluation.scores.answer_probabilities import answer_losses
        from core.evaluation.scores.truth_ratio import probability_among_wrong
        from core.evaluation.stats.bootstrap import weighted_means

        budget = self.budget(context)
        sets: dict[SetName, dict[str, Figure]] = {}
        for name in context.sets:
            if columns := answer_losses(context, name, self.records, budget):
                values = probability_among_wrong(columns)
                means = {"probability_among_wrong": (values, np.ones(len(values)))}
                sets[name] = weighted_means(means, context.resamples(name), through={})
        return MeasurementResult(
            sets=sets, cut_short=budget.cut_short, warnings=[] if sets else no_wrong_answers(self, context)
        )


def no_wrong_answers(measurement: Measurement, context: "EvalContext") -> list[str]:
    """A warning that no record has wrong answers; only where the job has questions at all."""
    questions = {"probes", "protected"} & set(context.sets)
    return [f"{measurement.name}: not measured: no record has wrong answers"] if questions else []
