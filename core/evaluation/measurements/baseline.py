"""Model-free baseline: if forget text differs from unseen text by itself, a successful attack proves nothing."""

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from core.evaluation.measurement import Measurement, ProducedFigures, Source
from core.schema.evaluation import MeasurementResult, SetName

if TYPE_CHECKING:
    from core.evaluation.eval_context import EvalContext

FEWEST = 10
"""Below this number of records in a set there is no figure."""

SHIFTED = 0.6
"""Above this AUC, topic, date or style alone tell the sets apart."""


class Baseline(Measurement):
    name: ClassVar[str] = "baseline"
    summary: ClassVar[str] = (
        "`baseline_auc`: how well a simple classifier (TF-IDF and logistic regression), which never asks the model,"
        " tells forget records from unseen ones. It is cross-validated, and no subject is in two folds. 0.5 means"
        " that it cannot tell them apart. Above 0.6 the membership figures are reported, but differences of topic,"
        " date or style could explain them."
    )
    produces: ClassVar[ProducedFigures] = ProducedFigures(across=("baseline_auc",))
    source: ClassVar[Source | None] = Source(
        title="Meeus et al. 2025, SoK: Membership Inference Attacks on LLMs are Rushing Nowhere (and How to Fix It)",
        url="https://arxiv.org/abs/2406.17975",
    )
    needs: ClassVar[frozenset[SetName]] = frozenset({"forget", "unseen"})

    records: int | None = Field(default=500, ge=FEWEST, description="at most this many records of a set; null: all")

    def measure(self, context: "EvalContext") -> MeasurementResult:
        from core.evaluation.attacks.membership import bootstrap_auc
        from core.evaluation.attacks.model_free_baseline import out_of_fold_scores

        budget = self.budget(context)
        names: tuple[SetName, ...] = ("forget", "unseen")
        indices = [context.subset_indices(name, self.records) for name in names]
        subsets = [[context.sets[name][index] for index in chosen] for name, chosen in zip(names, indices, strict=True)]
        for name, records in zip(names, subsets, strict=True):
            if len(records) < FEWEST:
                warning = f"baseline_auc: not measured on {len(records)} records of {name}, fewer than {FEWEST}"
                return MeasurementResult(warnings=[warning])
            budget.note_left_out(name, done=len(records), of=len(context.sets[name]), reason="records")
        context.check_stop()
        scores = out_of_fold_scores(*subsets, seed=context.seed)
        if scores is None:
            return MeasurementResult(
                warnings=["baseline_auc: not measured, since too few subjects share out the sets' records"]
            )
        members, non_members = scores[: len(subsets[0])], scores[len(subsets[0]) :]
        figure, _ = bootstrap_auc(members, non_members, context.resamples("baseline"))
        warnings = []
        if figure.value > SHIFTED:
            warnings.append(
                f"baseline_auc: text alone tells forget from unseen (AUC {figure.value:.2f}, above {SHIFTED}): the"
                " membership figures are reported but cannot be judged"
            )
        return MeasurementResult(across={"baseline_auc": figure}, warnings=warnings, cut_short=budget.cut_short)
