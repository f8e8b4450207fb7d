"""Can forget text be told from unseen text without asking any model? Then an attack's success proves nothing."""

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from core.evaluation.measurement import Measurement, ProducedFigures, Source
from core.schema.evaluation import MeasurementResult, SetName

if TYPE_CHECKING:
    from core.evaluation.eval_context import EvalContext

FEWEST = 10
"""Under so many records in a set there is no figure."""

SHIFTED = 0.6
"""From such an AUC on, topic, date or style alone tell the sets apart."""


class Baseline(Measurement):
    name: ClassVar[str] = "baseline"
    summary: ClassVar[str] = (
        "`baseline_auc`: how well a classifier that asks no model (TF-IDF and logistic regression, cross-validated with"
        " no subject in two folds) tells forget from unseen text. Above 0.6 the membership figures are reported, but"
        " topic, date or style could explain them."
    )
    produces: ClassVar[ProducedFigures] = ProducedFigures(across=("baseline_auc",))
    source: ClassVar[Source | None] = Source(
        title="Meeus et al. 2025, SoK: Membership Inference Attacks on LLMs are Rushing Nowhere (and How to Fix It)",
        url="https://arxiv.org/abs/2406.17975",
    )
    needs: ClassVar[frozenset[SetName]] = frozenset({"forget", "unseen"})

    records: int | None = Field(default=500, ge=FEWEST, description="at most so many records of a set; null: all")

    def measure(self, context: "EvalContext") -> MeasurementResult:
        from core.evaluation.attacks.membership import bootstrap_auc
        from core.evaluation.attacks.model_free_baseline import out_of_fold_scores

        budget = self.budget(context)
        names: tuple[SetName, ...] = ("forget", "unseen")
        chosen = [[context.sets[name][place] for place in context.subset_indices(name, self.records)] for name in names]
        for name, records in zip(names, chosen, strict=True):
            if len(records) < FEWEST:
                warning = f"baseline_auc: not measured on {len(records)} records of {name}, fewer than {FEWEST}"
                return MeasurementResult(warnings=[warning])
            budget.note_left_out(name, done=len(records), of=len(context.sets[name]), reason="records")
        context.check_stop()
        scores = out_of_fold_scores(*chosen, seed=context.seed)
        if scores is None:
            return MeasurementResult(
                warnings=["baseline_auc: not measured, since too few subjects share out the sets' records"]
            )
        figure, _ = bootstrap_auc(scores[: len(chosen[0])], scores[len(chosen[0]) :], context.resamples("baseline"))
        warnings = []
        if figure.value > SHIFTED:
            told = f"baseline_auc: text alone tells forget from unseen (AUC {figure.value:.2f}, above {SHIFTED})"
            warnings.append(f"{told}: the membership figures are reported but cannot be judged")
        return MeasurementResult(across={"baseline_auc": figure}, warnings=warnings, cut_short=budget.cut_short)
