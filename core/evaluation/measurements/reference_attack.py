"""Is forget text more probable, next to what a model that never saw it says, than unseen text is?"""

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from core.evaluation.measurement import OnePass, ProducedFigures, Source
from core.schema.evaluation import JUDGED_ATTACKS, MeasurementResult, Moment, SetName

if TYPE_CHECKING:
    from core.evaluation.eval_context import EvalContext


class ReferenceAttack(OnePass):
    name: ClassVar[str] = "reference_attack"
    summary: ClassVar[str] = (
        "Where the job names a retrained model: the membership attack `reference`, CE of the retrained model less CE of"
        " this one, forget (member) against unseen. It takes out how hard a text is to predict for any model."
    )
    produces: ClassVar[ProducedFigures] = ProducedFigures(attacks=("reference",))
    source: ClassVar[Source | None] = Source(
        title="Carlini et al. 2021, Extracting Training Data from Large Language Models",
        url="https://arxiv.org/abs/2012.07805",
    )
    needs: ClassVar[frozenset[SetName]] = frozenset({"forget", "unseen"})
    moments: ClassVar[frozenset[Moment]] = frozenset({"before", "after"})
    order: ClassVar[int] = 10

    judged: int = Field(
        default=len(JUDGED_ATTACKS),
        ge=1,
        le=100,
        description="attacks that are judged together: what the AUC's `joint` interval is corrected for",
    )

    def measure(self, context: "EvalContext") -> MeasurementResult:
        from core.evaluation.attacks.membership import evaluate_attack
        from core.evaluation.record_scores import record_scores, retrained_record_scores

        names: tuple[SetName, ...] = ("forget", "unseen")
        own = [record_scores(context, name, self.records)["loss"] for name in names]
        passes = retrained_record_scores(context, names, self.records)
        if passes is None:
            return MeasurementResult()
        members, others = (one["loss"] - loss for one, loss in zip(passes, own, strict=True))
        if not members.any() and not others.any():
            # All scores are 0, and an AUC of 0.5 would look like a model that has forgotten.
            return MeasurementResult(
                warnings=["reference: left out, since the retrained model is the measured one itself"]
            )
        found = evaluate_attack(members, others, context.resamples("membership"), judged=self.judged)
        budget = self.budget(context)
        for name, losses in zip(names, own, strict=True):
            budget.note_left_out(name, done=len(losses), of=len(context.sets[name]), reason="records")
        return MeasurementResult(attacks={"reference": found}, cut_short=budget.cut_short)
