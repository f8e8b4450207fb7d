"""Attack with a retrained model: whether forget text is more probable than for a model that never saw it."""

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from core.evaluation.measurement import OnePass, ProducedFigures, Source
from core.schema.evaluation import JUDGED_ATTACKS, MeasurementResult, Moment, SetName

if TYPE_CHECKING:
    from core.evaluation.eval_context import EvalContext


class ReferenceAttack(OnePass):
    name: ClassVar[str] = "reference_attack"
    summary: ClassVar[str] = (
        "The membership attack `reference`, forget (member) against unseen (non-member); only where the job names a"
        " retrained model. The score is the retrained model's cross entropy minus this model's, so that text which is"
        " hard or easy for every model does not count. 0.5 means that the two sets cannot be told apart."
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
        description="number of attacks that are judged together, which the AUC's `joint` interval is corrected for",
    )

    def measure(self, context: "EvalContext") -> MeasurementResult:
        from core.evaluation.attacks.membership import evaluate_attack
        from core.evaluation.record_scores import record_scores, retrained_record_scores

        names: tuple[SetName, ...] = ("forget", "unseen")
        own = [record_scores(context, name, self.records)["loss"] for name in names]
        retrained = retrained_record_scores(context, names, self.records)
        if retrained is None:
            return MeasurementResult()
        members, non_members = (columns["loss"] - loss for columns, loss in zip(retrained, own, strict=True))
        if not members.any() and not non_members.any():
            # With all scores 0 the AUC of 0.5 would look like that of a model that has forgotten.
            return MeasurementResult(
                warnings=["reference: left out, since the retrained model is the measured one itself"]
            )
        attack = evaluate_attack(members, non_members, context.resamples("membership"), judged=self.judged)
        budget = self.budget(context)
        for name, losses in zip(names, own, strict=True):
            budget.note_left_out(name, done=len(losses), of=len(context.sets[name]), reason="records")
        return MeasurementResult(attacks={"reference": attack}, cut_short=budget.cut_short)
